"""kind clusters running Calico: nodes are containers, the cloud is a router container with one route table per zone."""
