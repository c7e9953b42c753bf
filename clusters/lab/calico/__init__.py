"""The doubles of calico-node and of its DaemonSet, and their effect on a node's network."""
