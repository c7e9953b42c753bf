"""Scenarios: the model, the catalogue, and the plan of a run."""
