"""Causes of outages: candidates, evidence and the kernel's counters. Pure; the entry point is `attribution`."""
