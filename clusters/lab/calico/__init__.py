"""The doubles of calico-node and of its DaemonSet, and what they do to a node's network."""
