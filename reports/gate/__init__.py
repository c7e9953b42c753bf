"""The release gate: may a candidate be released, measured against a baseline? Pure; commands/gate.py is its edge."""
