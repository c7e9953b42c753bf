"""What other tools would have reported of the same history: their sampling, replayed over the measured outages.

Nothing is drawn at random: the moments at which a tool may have sampled are all considered, exactly. docs/estimators.md has the
models and their sources.
"""
