"""The checks: one subject per file, pure; no check imports another."""
