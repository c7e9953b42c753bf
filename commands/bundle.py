"""`hitless bundle`: a stored run or comparison as one file for a bug report, with or without the names of the cluster."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
import secrets
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from commands.compare import find_runs
from hitless.errors import BugError, RecordDamagedError, UsageError, attempting
from hitless.parquet import read_rows, write_rows
from hitless.records import (
    ADDRESS,
    CONNECTION_ROW,
    OVERFLOW_ROW,
    REFLECTOR_ROW,
    Rows,
    decode_address,
    encode_address,
)
from hitless.store import read_cluster
from hitless.words import JsonObject

KEY_OCTETS: Final = 32
_DOCUMENTS: Final = ("run.json", "cluster.json", "agents.json", "final.json", "load.json", "verdict.json")
_WITH_ADDRESSES: Final = {"reflector": REFLECTOR_ROW, "connections": CONNECTION_ROW, "overflows": OVERFLOW_ROW}
_AS_THEY_ARE: Final = ("sender.parquet", "skipped.parquet", "clocks.parquet", "load.parquet")
"""Numbers of flows, and times."""
_DROPPED: Final = frozenset(
    {
        "annotations",
        "creationTimestamp",
        "images",
        "labels",
        "managedFields",
        "nodeInfo",
        "ownerReferences",
        "providerID",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""Keys of Kubernetes objects that no check reads, and that tell whose cluster it is."""
_ADDRESS: Final = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*)(?:/\d{1,3})?(?![\w.])"
)
_URL: Final = re.compile(r"(https?://)[^\s/:\"']+")
_PATH: Final = re.compile(r"(?<![\w.])/(?:[\w.@+-]+/)+")
_KEPT: Final = tuple(map(ipaddress.ip_network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/127", "fe80::/10")))
"""The same everywhere: they tell nothing, and programs know them."""


def bundle(path: Path, output: Path | None, *, is_anonymous: bool) -> Path:
    """Pack the folder of a comparison or of one run, by default into `<folder>.tar.gz` here; return the file.

    An anonymous bundle lacks the reports, and names of nodes, zones and endpoints and addresses are replaced.

    Raises:
        UsageError: there is no stored run, or the file is there already.
        RecordDamagedError: the cluster of a run cannot be read, so that nothing can be made anonymous.
        WorldError: the file cannot be written.
    """
    folders = find_runs(path)
    target = Path(f"{path.resolve().name}{'-anonymous' if is_anonymous else ''}.tar.gz") if output is None else output
    if target.exists():
        raise UsageError(f"{target} exists; name a new file", where="--output")
    with attempting(f"write {target}"), tempfile.TemporaryDirectory() as name:
        source = path
        if is_anonymous:
            source = Path(name) / "run"
            _copy_anonymously(path, folders, source)
        with tarfile.open(target, "x:gz") as archive:
            archive.add(source, arcname=target.name.removesuffix(".tar.gz"), filter=_without_owner)
    return target


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _copy_anonymously(path: Path, folders: tuple[Path, ...], target: Path) -> None:
    """Copy the records; one key for all runs, so that a node has the same addresses in each."""
    key, pseudonyms = secrets.token_bytes(KEY_OCTETS), None
    for folder in folders:
        read_cluster(folder)  # refuses what is damaged
        pseudonyms = Pseudonyms(json.loads((folder / "cluster.json").read_bytes()), key)
        inner = target if folder == path else target / folder.name
        inner.mkdir(parents=True)
        left_out = sorted({one.name for one in folder.iterdir()} - set(_copy_run(folder, inner, pseudonyms)))
        if left_out:
            sys.stderr.write(f"hitless: {folder}: left out: {', '.join(left_out)}\n")
        _check(inner, pseudonyms)
    if folders != (path,) and pseudonyms is not None and (path / "verdict.json").exists():
        _write(target / "verdict.json", pseudonyms.replace_in(json.loads((path / "verdict.json").read_bytes())))


def _copy_run(folder: Path, target: Path, pseudonyms: Pseudonyms) -> Iterator[str]:
    """Copy one run's records and yield their names; what cannot be read is not copied."""
    for name in _DOCUMENTS:
        if (folder / name).exists():
            try:
                document = json.loads((folder / name).read_bytes())
            except ValueError:
                continue
            _write(target / name, pseudonyms.replace_in(document))
            yield name
    lines = (folder / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    (target / "events.jsonl").write_text("".join(_replace_lines(lines, pseudonyms)), encoding="utf-8")
    yield "events.jsonl"
    for table, dtype in _WITH_ADDRESSES.items():
        try:
            rows = read_rows(folder / f"{table}.parquet", dtype)
        except RecordDamagedError:
            continue
        write_rows(target / f"{table}.parquet", pseudonyms.replace_addresses(rows))
        yield f"{table}.parquet"
    for name in _AS_THEY_ARE:
        if (folder / name).exists():
            (target / name).write_bytes((folder / name).read_bytes())
            yield name


def _replace_lines(lines: list[str], pseudonyms: Pseudonyms) -> Iterator[str]:
    for line in lines:
        try:
            document: JsonObject = json.loads(line)
        except ValueError:
            return  # the run was cut here
        yield json.dumps(pseudonyms.replace_in(document)) + "\n"


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _check(folder: Path, pseudonyms: Pseudonyms) -> None:
    """Raise BugError if a file still has a name: no bundle is better than one that identifies a cluster.

    Kubernetes names have no underscore, so `is_outside` is a key and not the name `outside`.
    """
    names = [
        re.compile(rb"(?<![A-Za-z0-9_])" + re.escape(name.encode()) + rb"(?![A-Za-z0-9_])") for name in pseudonyms.originals
    ]
    for path in folder.iterdir():
        content = path.read_bytes()
        for pattern in names:
            found = pattern.search(content)
            if found is not None:
                raise BugError(f"{path.name}: the bundle would still contain the name {found[0].decode()}")


class Pseudonyms:
    """Replaces what names a cluster: names of nodes, zones and endpoints, and addresses, so that the run is judged as before.

    Addresses keep their prefixes in common, since checks and causes ask whether a pod lies in its node's CIDR: two of them
    share as many leading bits afterwards as before. The cluster is the document `cluster.json`. The key is the secret of this
    bundle; its holder can restore the addresses.

    Source: Xu, Fan, Ammar, Moon, "Prefix-preserving IP address anonymization" (ICNP 2002).
    """

    def __init__(self, cluster: JsonObject, key: bytes) -> None:
        self._key = key
        facts = cluster["facts"]
        zones = list(dict.fromkeys([*facts["zone_gateways"], *(node["zone"] for node in facts["nodes"])]))
        self._zones = {zone: f"z{number}" for number, zone in enumerate(zones, 1)}
        self._names = {node["name"]: f"node-{number}" for number, node in enumerate(facts["nodes"], 1)}
        for number, end in enumerate(facts["endpoints"], 1):
            node, name = end["node"], end["name"]
            is_named_after = name.startswith(f"{node}-") and node in self._names
            self._names[name] = f"{self._names[node]}{name.removeprefix(node)}" if is_named_after else f"endpoint-{number}"
        every = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, every))})(?![\w])") if every else None

    @property
    def originals(self) -> frozenset[str]:
        """Names that must not be left anywhere."""
        return frozenset(self._names) - frozenset(self._names.values())

    def replace_in(self, document: Any) -> Any:  # noqa: ANN401 - JSON
        """Return a JSON document with pseudonyms, its keys too."""
        if isinstance(document, str):
            return self._zones.get(document) or self._replace_text(document)
        if isinstance(document, Mapping):
            kept = {key: value for key, value in document.items() if key not in _DROPPED}
            return {
                self.replace_in(key) if isinstance(key, str) else key: self.replace_in(value) for key, value in kept.items()
            }
        if isinstance(document, Sequence):
            return [self.replace_in(value) for value in document]
        return document

    def replace_addresses(self, rows: Rows) -> Rows:
        """Return rows of a table with every address replaced."""
        rows = rows.copy()
        for name in rows.dtype.names or ():
            if rows.dtype[name] == ADDRESS:
                found, places = np.unique(rows[name], return_inverse=True)
                changed = [encode_address(str(self._change(ipaddress.ip_address(decode_address(one))))) for one in found]
                rows[name] = np.array(changed, dtype=ADDRESS)[places] if changed else rows[name]
        return rows

    def _replace_text(self, text: str) -> str:
        text = _URL.sub(r"\1host", text)
        text = _ADDRESS.sub(lambda found: self._replace_address(found[0]), text)
        text = _PATH.sub("/", text)
        for zone, pseudonym in self._zones.items():
            text = re.sub(rf"\bzone {re.escape(zone)}\b", f"zone {pseudonym}", text)
        return text if self._pattern is None else self._pattern.sub(lambda found: self._names[found[0]], text)

    def _replace_address(self, text: str) -> str:
        try:
            if "/" not in text:
                return str(self._change(ipaddress.ip_address(text)))
            found = ipaddress.ip_interface(text)
        except ValueError:
            return text  # no address after all
        changed, bits = self._change(found.ip), found.network.prefixlen
        if found.ip == found.network.network_address:
            return str(ipaddress.ip_network((changed, bits), strict=False))
        return f"{changed}/{bits}"

    def _change(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        if any(address.version == kept.version and address in kept for kept in _KEPT):
            return address
        width, number, changed = address.max_prefixlen, int(address), 0
        for place in range(width):
            prefix = f"{address.version}:{place}:{number >> (width - place)}".encode()
            flip = hmac.digest(self._key, prefix, hashlib.sha256)[0] & 1
            changed = changed << 1 | (number >> (width - place - 1) & 1) ^ flip
        return type(address)(changed)
