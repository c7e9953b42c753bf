"""The checks: one question per file, pure; no check imports another."""
