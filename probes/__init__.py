"""Probing: STAMP wire format, sender and reflector, agent."""
