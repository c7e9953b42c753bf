"""What a runner of GitHub Actions reads on standard output.

Source: GitHub's documentation, "Workflow commands for GitHub Actions"; escapes as in actions/toolkit,
packages/core/src/command.ts.
"""

from __future__ import annotations


def annotate(level: str, title: str, text: str) -> str:
    """Return a workflow command that the runner shows beside the change.

    Args:
        level: `notice`, `warning` or `error`.
        title: what it is about.
        text: may have several lines.
    """
    text, title = (part.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A") for part in (text, f"hitless {title}"))
    return f"::{level} title={title.replace(':', '%3A').replace(',', '%2C')}::{text}"
