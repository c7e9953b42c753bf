"""What the records say: measures, the ledger, the comparison, which way packets went, why flows were down. Pure."""
