"""The lab: a cluster of network namespaces, real packets through the real Linux data path."""
