"""Reports: summary, chart and Markdown, pure functions of stored runs."""
