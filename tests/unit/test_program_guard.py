from __future__ import annotations

from dataclasses import dataclass

from clusters.programs.process import Guard
from hitless.errors import ApiUnavailableError


@dataclass
class Follower:
    """Knows of a state what its watch has told."""

    is_done: bool
    is_known_done: bool = True
    is_away: bool = False

    def refresh(self) -> None:
        if self.is_away:
            raise ApiUnavailableError("GET list: no answer")
        self.is_known_done = self.is_done

    def is_settled(self) -> bool:
        return self.is_known_done


def settles(*followed: Follower) -> bool:
    return Guard(lambda: None, followed).is_settled()


def test_what_is_done_is_settled() -> None:
    assert settles(Follower(is_done=True), Follower(is_done=True))
    assert settles()


def test_what_only_seemed_done_is_not_settled() -> None:
    assert not settles(Follower(is_done=False), Follower(is_done=True))
    assert not settles(Follower(is_done=True), Follower(is_done=False))


def test_while_the_api_is_away_nothing_is_settled() -> None:
    assert not settles(Follower(is_done=True), Follower(is_done=True, is_away=True))
