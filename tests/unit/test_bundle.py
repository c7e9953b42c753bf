"""A bundle is judged as the run that it was made of; an anonymous one has none of its names and addresses."""

from __future__ import annotations

import ipaddress
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.bundle import Pseudonyms, bundle
from commands.compare import judge_stored, read_stored
from commands.options import Format
from hitless.errors import BugError, RecordDamagedError, UsageError
from hitless.store import read_history, write_json
from hitless.words import Arm, Verdict
from tests.unit.test_cut_records import store

CLUSTER = {
    "facts": {
        "zone_gateways": {"a": "10.250.0.1"},
        "nodes": [{"name": "ip-10-250-0-10.internal", "zone": "a"}],
        "endpoints": [
            {"name": "ip-10-250-0-10.internal-mesh", "node": "ip-10-250-0-10.internal"},
            {"name": "client", "node": "outside"},
        ],
    }
}
KEY = b"k" * 32


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    folder = tmp_path / "comparison"
    store(folder / "ungated-1", Arm.UNGATED)
    store(folder / "gated-1", Arm.GATED)
    write_json(folder / "verdict.json", {"verdict": "PASS"})
    return folder


def _unpack(file: Path, target: Path) -> Path:
    with tarfile.open(file) as archive:
        archive.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


@pytest.mark.parametrize("is_anonymous", [False, True])
def test_a_bundle_is_judged_as_before(stored: Path, tmp_path: Path, *, is_anonymous: bool) -> None:
    file = bundle(stored, tmp_path / "x.tar.gz", is_anonymous=is_anonymous)
    found = _unpack(file, tmp_path / "unpacked")
    assert judge_stored(found, Format.TEXT) is Verdict.PASS
    (before, _), (after, _) = read_stored(stored), read_stored(found)
    for old, new in zip(before, after, strict=True):
        assert [result.verdict for result in new.results] == [result.verdict for result in old.results]
        assert [m.lost for m in new.measures.values()] == [m.lost for m in old.measures.values()]
        causes = [[said.cause.kind for said in run.evidence.causes] for run in (old, new)]
        assert causes[0] == causes[1]


def test_an_anonymous_bundle_has_no_name_and_no_address(stored: Path, tmp_path: Path) -> None:
    (stored / "report.html").write_text("node-a1")
    found = _unpack(bundle(stored, tmp_path / "x.tar.gz", is_anonymous=True), tmp_path / "unpacked")
    assert {path.name for path in found.iterdir()} == {"ungated-1", "gated-1", "verdict.json"}
    for path in found.rglob("*.json*"):
        text = path.read_text()
        assert not [word for word in ("node-a1", "node-b2", "10.250.", "100.96.") if word in text], path
    old, new = read_history(stored / "gated-1"), read_history(found / "gated-1")
    assert {node.name for node in new.facts.nodes} == {"node-1", "node-2", "node-3", "node-4"}
    for node, end in zip(new.facts.nodes, new.facts.endpoints[::2], strict=True):
        assert ipaddress.ip_address(end.address) in ipaddress.ip_network(node.pod_cidr)
    assert not np.isin(
        new.records.reflector["source"], [s for s in np.unique(old.records.reflector["source"]) if any(s.tobytes())]
    ).any()


def test_two_bundles_of_one_run_do_not_have_the_same_addresses(stored: Path, tmp_path: Path) -> None:
    files = [bundle(stored, tmp_path / f"{name}.tar.gz", is_anonymous=True) for name in "xy"]
    facts = [read_history(_unpack(file, tmp_path / file.name[0]) / "gated-1").facts for file in files]
    assert facts[0].nodes[0].address != facts[1].nodes[0].address


def test_what_cannot_be_made_anonymous_is_left_out_by_name(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stored / "gated-1"
    (run / "agents").mkdir()
    os.truncate(run / "reflector.parquet", 100)
    (run / "final.json").write_bytes((run / "final.json").read_bytes()[:-20])
    found = _unpack(bundle(run, tmp_path / "x.tar.gz", is_anonymous=True), tmp_path / "unpacked")
    assert capsys.readouterr().err == f"hitless: {run}: left out: agents, final.json, reflector.parquet\n"
    assert judge_stored(found, Format.TEXT) is Verdict.INCONCLUSIVE


def test_a_run_without_its_cluster_cannot_be_made_anonymous(stored: Path, tmp_path: Path) -> None:
    os.truncate(stored / "gated-1" / "cluster.json", 50)
    with pytest.raises(RecordDamagedError, match=r"cluster\.json"):
        bundle(stored, tmp_path / "x.tar.gz", is_anonymous=True)


def test_an_endpoint_whose_name_is_part_of_a_key_is_made_anonymous(stored: Path, tmp_path: Path) -> None:
    path = stored / "gated-1" / "cluster.json"
    document = json.loads(path.read_bytes())
    first = document["facts"]["endpoints"][0]
    document["facts"]["endpoints"].append(first | {"name": "outside", "node": "vpc", "is_outside": True})
    write_json(path, document)
    found = _unpack(bundle(stored / "gated-1", tmp_path / "x.tar.gz", is_anonymous=True), tmp_path / "unpacked")
    last = json.loads((found / "cluster.json").read_bytes())["facts"]["endpoints"][-1]
    assert (last["name"], last["is_outside"]) == (f"endpoint-{len(document['facts']['endpoints'])}", True)


def test_a_name_that_was_not_replaced_refuses_the_bundle(stored: Path, tmp_path: Path) -> None:
    path = stored / "gated-1" / "events.jsonl"
    event = json.loads(path.read_text().splitlines()[0]) | {"host": "vpc.node-a1"}
    path.write_text(f"{json.dumps(event)}\n{path.read_text()}")
    with pytest.raises(BugError, match=r"events\.jsonl: the bundle would still contain the name node-a1"):
        bundle(stored / "gated-1", tmp_path / "x.tar.gz", is_anonymous=True)


def test_a_file_is_not_overwritten(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").touch()
    with pytest.raises(UsageError, match="exists; name a new file"):
        bundle(stored, tmp_path / "x.tar.gz", is_anonymous=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ip-10-250-0-10.internal-mesh > client", "node-1-mesh > endpoint-2"),
        ("calico-node-ip-10-250-0-10.internal-x2", "calico-node-node-1-x2"),
        ("route of zone a to ip-10-250-0-10.internal", "route of zone z1 to node-1"),
        ("a", "z1"),
        ("/home/me/runs/1/final.json: cut", "/final.json: cut"),
        ("https://api.my.cluster:443/api", "https://host:443/api"),
        ("version 1.2.3, 12:30:01, 169.254.1.1", "version 1.2.3, 12:30:01, 169.254.1.1"),
        ("x::y", "x::y"),
    ],
)
def test_texts_keep_their_sense(text: str, expected: str) -> None:
    assert Pseudonyms(CLUSTER, KEY).replace_in(text) == expected


def test_labels_and_uids_of_objects_are_dropped() -> None:
    document = {"metadata": {"name": "ip-10-250-0-10.internal", "uid": "1", "labels": {"owner": "me"}}}
    assert json.loads(json.dumps(Pseudonyms(CLUSTER, KEY).replace_in(document))) == {"metadata": {"name": "node-1"}}


@given(one=st.ip_addresses(), bits=st.integers(0, 128), host=st.integers(0, 2**128 - 1))
def test_addresses_share_as_many_leading_bits_as_before(one: ipaddress.IPv4Address, bits: int, host: int) -> None:
    width = one.max_prefixlen
    other = type(one)(
        int(one) >> (width - bits % (width + 1)) << (width - bits % (width + 1)) | host % 2 ** (width - bits % (width + 1))
    )
    names = Pseudonyms(CLUSTER, KEY)
    changed = [ipaddress.ip_address(names.replace_in(str(address))) for address in (one, other)]
    special = [address for address in (one, other) if address.is_link_local or address.is_loopback or int(address) < 2**24]
    if not special:
        shared = [width - (int(a) ^ int(b)).bit_length() for a, b in ((one, other), changed)]
        assert shared[0] == shared[1]
