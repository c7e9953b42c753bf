"""The parts of Gardener that perform the switch: the same code on every cluster."""
