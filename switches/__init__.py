"""Who performs the switch: the doubles, or somebody else whom a run only observes."""
