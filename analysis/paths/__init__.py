"""The path of every packet, from its TTL and from the nodes' route events. Pure; the entry point is `path`."""
