"""How we look: STAMP wire format, sender and reflector, agent."""
