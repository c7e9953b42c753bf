"""Released programs of Gardener's parts as the system under test, with everything that they need around them."""
