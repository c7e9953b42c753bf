"""Shared by the reference programs: the flags of the real ones, and a loop that reads the API when it changes."""

from __future__ import annotations

import argparse
import base64
import json
import sys
import threading
from pathlib import Path
from typing import Any

from clusters.kubernetes.api_calls import MERGE, ApiCalls, connect
from clusters.kubernetes.installer import Resource
from hitless.documents import parse_documents
from hitless.errors import NotFoundError
from hitless.words import JsonObject

VERSION = "v0.1.0-reference"
LOOK_S = 0.02
_PAUSE = threading.Event()


def read_flags(*names: str) -> argparse.Namespace:
    """Read the flags that a program needs; the real ones have more, which are accepted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="version", version=f"reference {VERSION}")
    for name in names:
        parser.add_argument(f"--{name}", required=True)
    flags, _ = parser.parse_known_args()
    return flags


def read_config(flags: argparse.Namespace, name: str) -> JsonObject:
    config: JsonObject = json.loads(Path(getattr(flags, name)).read_text(encoding="utf-8"))
    return config


def connect_to(kubeconfig: str) -> ApiCalls:
    return connect(Path(kubeconfig))


def pause(seconds: float = LOOK_S) -> None:
    _PAUSE.wait(seconds)


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def find(calls: ApiCalls, path: str) -> JsonObject | None:
    try:
        return calls.call("GET", path, about=path)
    except NotFoundError:
        return None


def read_objects(secret: JsonObject) -> list[JsonObject]:
    """Return the objects that a ManagedResource's secret holds."""
    texts = [base64.b64decode(content).decode() for content in secret["data"].values()]
    return [document.content for text in texts for document in parse_documents(text, "secret")]


def patch(calls: ApiCalls, path: str, body: JsonObject) -> JsonObject:
    return calls.call("PATCH", path, about=path, body=body, content_type=MERGE)


def patch_status(calls: ApiCalls, resource: Resource, document: JsonObject, status: dict[str, Any]) -> None:
    metadata = document["metadata"]
    path = resource.path(metadata["name"], namespace=metadata.get("namespace", ""), subresource="status")
    status["observedGeneration"] = metadata["generation"]
    patch(calls, path, {"status": status})
