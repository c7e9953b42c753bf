"""The command line, and the composition that it shares with conftest.py."""
