"""Hand-overs: what waits, what is replaced, what counts as dropped, and that closing wakes both sides."""

from __future__ import annotations

import threading
import time

import pytest

from edgeseg.runtime.mailbox import Mailbox, Waiting

PATIENCE_S = 60.0


def run_aside(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def assert_waits(thread: threading.Thread) -> None:
    thread.join(0.05)
    assert thread.is_alive()


def assert_ends(thread: threading.Thread) -> None:
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_the_newest_wins_and_the_replaced_are_counted() -> None:
    box: Mailbox[int] = Mailbox()
    assert all(box.put(number) for number in range(5))
    assert (box.take(), box.dropped) == (4, 4)
    assert box.put(5)
    assert (box.take(), box.dropped) == (5, 4)


def test_waiting_loses_nothing_and_keeps_the_order() -> None:
    box: Waiting[int] = Waiting()

    def produce() -> None:
        for number in range(200):
            box.put(number)
        box.close()

    producer = run_aside(produce)
    taken = list(iter(lambda: box.take(PATIENCE_S), None))
    assert_ends(producer)
    assert (taken, box.dropped) == (list(range(200)), 0)


def test_waiting_blocks_the_second_put_until_there_is_room() -> None:
    box: Waiting[int] = Waiting()
    box.put(0)
    answers: list[bool] = []
    for work in (lambda: answers.append(box.put(1)), lambda: answers.append(box.wait_for_room())):
        producer = run_aside(work)
        assert_waits(producer)
        assert box.take(PATIENCE_S) is not None
        assert_ends(producer)
    assert answers == [True, True]


@pytest.mark.parametrize("kind", [Mailbox, Waiting])
def test_take_waits_and_times_out(kind) -> None:
    box = kind()
    with pytest.raises(TimeoutError):
        box.take(0.02)
    taken: list[int] = []
    taker = run_aside(lambda: taken.append(box.take()))
    assert_waits(taker)
    box.put(7)
    assert_ends(taker)
    assert taken == [7]


@pytest.mark.parametrize("kind", [Mailbox, Waiting])
def test_closing_wakes_a_taker_and_refuses_what_comes_later(kind) -> None:
    box = kind()
    taken: list[object] = []
    taker = run_aside(lambda: taken.append(box.take()))
    assert_waits(taker)
    box.close()
    assert_ends(taker)
    assert taken == [None]
    assert box.put(1) is False
    assert (box.take(), box.dropped) == (None, 1)


@pytest.mark.parametrize("kind", [Mailbox, Waiting])
def test_what_is_inside_when_closed_is_taken_or_dropped(kind) -> None:
    kept, discarded = kind(), kind()
    for box in (kept, discarded):
        box.put(1)
    kept.close()
    assert (kept.take(), kept.take(), kept.dropped) == (1, None, 0)
    discarded.close()
    discarded.close(discard=True)  # a stop after the source's end
    discarded.close(discard=True)
    assert (discarded.take(), discarded.dropped) == (None, 1)


def test_closing_wakes_a_blocked_producer() -> None:
    box: Waiting[int] = Waiting()
    box.put(0)
    answers: list[bool] = []
    producers = [run_aside(lambda: answers.append(box.put(1))), run_aside(lambda: answers.append(box.wait_for_room()))]
    for producer in producers:
        assert_waits(producer)
    box.close(discard=True)
    for producer in producers:
        assert_ends(producer)
    assert (answers, box.dropped) == ([False, False], 2)


@pytest.mark.parametrize("kind", [Mailbox, Waiting])
def test_every_item_is_taken_or_dropped_whoever_is_faster(kind) -> None:
    box = kind()
    put = taken = 0

    def produce() -> None:
        nonlocal put
        while not stop.is_set():
            box.put(put)
            put += 1

    stop = threading.Event()
    producer = run_aside(produce)
    ends = time.monotonic() + 0.1
    while time.monotonic() < ends:
        taken += box.take(PATIENCE_S) is not None
    stop.set()
    box.close(discard=True)
    assert_ends(producer)
    assert put == taken + box.dropped
