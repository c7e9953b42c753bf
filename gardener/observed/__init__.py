"""Observed decisions of released programs, with which the doubles are compared."""
