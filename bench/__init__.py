"""Benches and experiments: `python -m bench`. Not installed with the product."""
