"""Where it happens: each cluster is a folder of its own with the same file names."""
