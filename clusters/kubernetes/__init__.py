"""Any Kubernetes cluster: its API, its pods and the probers in them."""
