"""netem as the kernel is asked for it, and what a scenario may say of links."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusters.linux.netlink_messages import set_netem
from hitless.errors import UsageError
from hitless.yaml_reader import read_yaml
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.parts import Links


def test_the_message_is_the_one_that_tc_sends() -> None:
    message = set_netem(2, Links(delay_ms=50, jitter_ms=5, loss_percent=25, duplicate_percent=50, reorder_percent=100))
    octets = message.octets
    assert octets[20:24] == (2).to_bytes(4, "little")
    options = octets.index(b"netem") + 8 + 4
    words = [int.from_bytes(octets[options + 4 * n : options + 4 * n + 4], "little") for n in range(6)]
    assert words == [0, 10_000, 0x4000_0000, 1, 0x8000_0000, 0]
    assert (50_000_000).to_bytes(8, "little") in octets
    assert (5_000_000).to_bytes(8, "little") in octets


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ({"jitter_ms": 5}, "links.jitter_ms: found 5; expected at most delay_ms, 0"),
        (
            {"reorder_percent": 5},
            "links.reorder_percent: found 5; expected 0 if delay_ms is 0, because reordering needs a delay",
        ),
    ],
)
def test_links_that_make_no_sense_are_refused(links: dict[str, float], message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, links=links)


def test_links_need_their_capability(tmp_path: Path) -> None:
    message = "needs: found route-tables; expected netem as well, because the scenario has links"
    assert message in refusal(tmp_path, links={"loss_percent": 1}, needs=["route-tables"])


def refusal(folder: Path, **changes: object) -> str:
    (document,) = read_yaml((CATALOGUE / "lossy-links.yaml").read_text())
    path = folder / "lossy-links.yaml"
    shoot = str(CATALOGUE.parent / "shoots" / "aws-1.36.yaml")
    path.write_text(json.dumps({**document.content, "shoot": shoot, **changes}))
    with pytest.raises(UsageError) as caught:
        load_scenario(path)
    return str(caught.value)
