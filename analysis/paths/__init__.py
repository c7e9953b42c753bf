"""Which way every packet went: by its TTL and by what the nodes told of their routes. Pure; the way in is `path`."""
