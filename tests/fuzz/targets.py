"""All fuzz targets by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.fuzz import documents, engine, wire
from tests.fuzz.target import Target

TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (
        wire.TARGET,
        engine.REFLECTOR,
        engine.SENDER,
        documents.SETTINGS,
        documents.RECORD,
        documents.SCENARIO,
    )
}
