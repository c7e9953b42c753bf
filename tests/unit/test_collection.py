"""A collection that is listed beside its watch, against an API that answers as the test says."""

from __future__ import annotations

from collections import deque
from typing import Any

from clusters.kubernetes.installer import RESOURCES
from clusters.kubernetes.watcher import Collection
from hitless.words import JsonObject, Kind


class Answers:
    """An API whose lists are given beforehand."""

    def __init__(self, *lists: tuple[int, str]) -> None:
        self.lists = deque(lists)

    def call(self, *_: str, **__: Any) -> JsonObject:  # noqa: ANN401 - a request
        version, name = self.lists.popleft()
        return {"metadata": {"resourceVersion": str(version)}, "items": [{"metadata": {"name": name}}]}


def names_after(*lists: tuple[int, str]) -> list[str]:
    """Return the objects' names after that many lists."""
    collection = Collection(Answers(*lists), RESOURCES[Kind.NODE], Kind.NODE.value)  # type: ignore[arg-type]  # called as the API is
    for _ in lists:
        collection.read()
    return [one["metadata"]["name"] for one in collection.objects]


def test_what_is_listed_is_known_at_once() -> None:
    assert names_after((5, "old"), (6, "new")) == ["new"]


def test_an_older_answer_that_comes_later_changes_nothing() -> None:
    assert names_after((6, "new"), (5, "old")) == ["new"]
