"""The settings file of an agent: private, because it may hold the key of the run, and without it once the agent has read it.

The file lies beside the records and stays with them, so that it can be seen what an agent was told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hitless.errors import WorldError
from probes.settings import AgentSettings

KEY_WITHHELD: Final = "withheld"
"""Stands for a key that was read; no agent takes it for one."""


def write_settings(path: Path, settings: AgentSettings) -> None:
    """Write a settings file that nobody else may read, since it may hold a key.

    Raises:
        WorldError: it cannot be written.
    """
    _write_privately(path, settings.as_json())


def withhold_key(path: Path, settings: AgentSettings) -> None:
    """Take the key out of a settings file that was read: the file stays with the records of the run.

    Raises:
        WorldError: the file cannot be written.
    """
    if settings.key is not None:
        _write_privately(path, settings.as_json() | {"key": KEY_WITHHELD})


def _write_privately(path: Path, document: Mapping[str, Any]) -> None:
    try:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        message = f"cannot write the settings file {path}: {error.strerror}"
        raise WorldError(message) from error
