"""The core: words, records, ports, history, store, verdicts and the run itself."""
