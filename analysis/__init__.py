"""Evaluation of a run's records: measures, the ledger, the comparison, paths of packets, causes of outages. Pure."""
