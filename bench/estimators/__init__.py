"""What would other tools have said of the same history? Each tool's own sampling, replayed over the outages that were measured.

Nothing is drawn at random: the moments at which a tool may have sampled are all considered, exactly. docs/estimators.md has the
models and their sources.
"""
