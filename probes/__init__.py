"""How we look: STAMP wire format, batched engine, agent."""
