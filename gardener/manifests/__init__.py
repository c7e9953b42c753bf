"""The Kubernetes objects that the extension renders for a Shoot."""
