"""The clusters that hitless runs on. Each is a folder with the same file names."""
