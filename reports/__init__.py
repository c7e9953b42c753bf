"""How we tell: summary, chart and Markdown, pure functions of stored runs."""
