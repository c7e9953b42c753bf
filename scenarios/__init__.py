"""What we do: the scenario model, the catalogue, and the plan of a run."""
