"""The book of changes: every change is told once, by the first that brings the news."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusters.kubernetes.changes import ChangeBook
from hitless.words import Kind

NODE = Kind.NODE


def begun(version: int = 10) -> ChangeBook:
    book = ChangeBook()
    book.begin(NODE, version)
    return book


def test_a_beginning_is_no_change() -> None:
    assert begun().take() == frozenset()


def test_an_event_is_reported_once() -> None:
    book = begun()
    book.note_event(NODE, 11)
    assert book.take() == {NODE}
    assert book.take() == frozenset()


def test_a_write_that_changed_nothing_is_answered_with_a_version_that_was_seen() -> None:
    book = begun()
    book.note_write(NODE, 9)
    book.note_write(NODE, 10)
    assert book.take() == frozenset()


def test_a_write_that_changed_nothing_since_our_own_last_one_is_no_news() -> None:
    book = begun()
    book.note_write(NODE, 11)
    assert book.take() == {NODE}
    book.note_write(NODE, 11)
    assert book.take() == frozenset()


def test_a_gap_counts_as_a_change_and_forgets_what_was_told_before() -> None:
    book = begun()
    book.note_write(NODE, 12)
    book.take()
    book.note_gap(NODE, 20)
    assert book.take() == {NODE}
    book.note_event(NODE, 21)
    assert book.take() == {NODE}


def test_a_write_to_an_unwatched_kind_is_reported() -> None:
    book = ChangeBook()
    book.note_write(NODE, 5)
    assert book.take() == {NODE}
    book.note_deletion(NODE, "u1")
    assert book.take() == {NODE}


def test_an_object_that_was_made_again_can_be_deleted_again() -> None:
    book = begun()
    for uid, version in (("u1", 11), ("u2", 12)):
        book.note_deletion(NODE, uid)
        assert book.take() == {NODE}
        book.note_event(NODE, version, deleted_uid=uid)
        assert book.take() == frozenset()


def test_kinds_do_not_mix() -> None:
    book = begun()
    book.begin(Kind.POD, 10)
    book.note_write(NODE, 11)
    book.take()
    book.note_event(Kind.POD, 11)
    assert book.take() == {Kind.POD}


@given(data=st.data(), count=st.integers(1, 6))
def test_every_change_is_reported_once_in_either_order_of_answer_and_event(data: st.DataObject, count: int) -> None:
    """Events come in order; the answer to a write comes at any time, and one kind of write is a deletion."""
    book = begun()
    deletions = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    news = data.draw(st.permutations([*("event" for _ in range(count)), *range(count)]))
    heard: set[int] = set()
    next_event = 0
    for item in news:
        if item == "event":
            change = next_event
            next_event += 1
            book.note_event(NODE, 11 + change, deleted_uid=f"u{change}" if deletions[change] else None)
        else:
            change = int(item)
            if deletions[change]:
                book.note_deletion(NODE, f"u{change}")
            else:
                book.note_write(NODE, 11 + change)
        assert book.take() == (frozenset() if change in heard else {NODE})
        heard.add(change)
