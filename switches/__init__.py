"""Performers of the switch: the doubles, or someone else whom a run only observes."""
