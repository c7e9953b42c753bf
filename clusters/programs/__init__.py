"""Released programs of Gardener's parts as the system under test, with their environment."""
