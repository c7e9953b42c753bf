"""Pseudonyms for a stored run: names of nodes, zones and endpoints, and addresses, so that the run is judged as before. Pure.

Addresses keep their prefixes in common, since checks and causes ask whether a pod lies in its node's CIDR: two of them share as
many leading bits afterwards as before.
Source: Xu, Fan, Ammar, Moon, "Prefix-preserving IP address anonymization" (ICNP 2002).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from hitless.records import ADDRESS, Rows, decode_address, encode_address
from hitless.words import JsonObject

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


class Pseudonyms:
    """Replaces what names a cluster.

    Args:
        cluster: the document `cluster.json`.
        key: secret of this bundle; its holder can restore the addresses.
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
