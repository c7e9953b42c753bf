"""Stand-ins for Gardener's parts and for the cloud, driven by the run's loop."""
