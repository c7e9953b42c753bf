"""What released programs were seen to decide, to compare the doubles with."""
