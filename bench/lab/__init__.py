"""Experiments in the lab whose truth is known."""
