"""The core: words, records, ports, history, measuring, verdicts and the run itself."""
