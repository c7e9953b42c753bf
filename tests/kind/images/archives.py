"""Image archives as `docker load` and `ctr images import` read them, written without an engine.

An archive holds layers (tar files), one configuration and one manifest. Layers are written with fixed owners and times, so
that the same files give the same digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image."""

    name: str
    """Repository and tag."""
    layers: tuple[Path, ...]
    """Tar files, the lowest first."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    directory: str = "/"
    """Working directory."""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""


class LayerWriter:
    """Writes one layer.

    Args:
        path: of the tar file.
    """

    def __init__(self, path: Path) -> None:
        self._archive = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the layer."""
        self._archive.close()

    def add_tree(self, source: Path, target: str, *, mode: int | None = None) -> None:
        """Add a folder with all that is in it below `target`, owned by root."""
        for path in sorted(source.rglob("*")):
            self.add_file(path, f"{target}/{path.relative_to(source)}", mode=mode)

    def add_file(self, source: Path, target: str, *, mode: int | None = None, owner: int = 0) -> None:
        """Add a file, a link or an empty folder."""
        entry = self._archive.gettarinfo(str(source), target.lstrip("/"))
        entry.uid = entry.gid = owner
        entry.uname = entry.gname = ""
        entry.mtime = 0
        if mode is not None and entry.isfile():
            entry.mode = mode
        if entry.isfile():
            with source.open("rb") as stream:
                self._archive.addfile(entry, stream)
        else:
            self._archive.addfile(entry)

    def add_text(self, text: str, target: str, *, mode: int = 0o644) -> None:
        """Add a file of this text."""
        entry = tarfile.TarInfo(target.lstrip("/"))
        octets = text.encode()
        entry.size, entry.mode = len(octets), mode
        self._archive.addfile(entry, io.BytesIO(octets))

    def add_folder(self, target: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """Add an empty folder."""
        entry = tarfile.TarInfo(target.lstrip("/"))
        entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
        self._archive.addfile(entry)

    def add_link(self, target: str, points_to: str) -> None:
        """Add a symbolic link."""
        entry = tarfile.TarInfo(target.lstrip("/"))
        entry.type, entry.linkname = tarfile.SYMTYPE, points_to
        self._archive.addfile(entry)


def write_archive(images: Sequence[Image], path: Path) -> None:
    """Write images into one archive; a layer that several of them share is stored once."""
    names: dict[Path, str] = {}
    manifest = []
    with tarfile.open(path, "w") as archive:
        for image in images:
            digests = []
            for layer in image.layers:
                names.setdefault(layer, f"{_digest(layer)}/layer.tar")
                digests.append(names[layer].partition("/")[0])
            configuration = json.dumps(_configuration(image, digests), sort_keys=True).encode()
            name = f"{hashlib.sha256(configuration).hexdigest()}.json"
            _add(archive, name, configuration)
            manifest.append({"Config": name, "RepoTags": [image.name], "Layers": [names[layer] for layer in image.layers]})
        for layer, name in names.items():
            archive.add(layer, arcname=name)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _configuration(image: Image, digests: Iterable[str]) -> dict[str, object]:
    """Return the configuration. Source: OCI image specification, config.md."""
    config: dict[str, object] = {
        "Env": [f"{name}={value}" for name, value in image.environment.items()],
        "Entrypoint": list(image.entrypoint) or None,
        "Cmd": list(image.command) or None,
        "User": image.user,
        "WorkingDir": image.directory,
        "Labels": dict(image.labels) or None,
    }
    if image.stop_signal:
        config["StopSignal"] = image.stop_signal
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
