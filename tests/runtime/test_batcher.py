"""Batches across streams: the same masks as one at a time, nobody waits past the deadline, an error is everybody's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import Recorder, ToySource, person_manifest

from edgeseg.errors import ModelError, UsageError
from edgeseg.manifest import PREVIOUS
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.batcher import Batcher
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter, open_segmenter
from edgeseg.runtime.streams import Streams
from edgeseg.runtime.turnstile import Turnstile

NAMES = ("label_map", "probability")


class Several:
    """Answers with the mean of each picture; takes `batch` of them. With memory, of picture and last answer."""

    name, device, shares_cores = "several", "CPU", False

    def __init__(self, batch: int, takes_s: float = 0.0, memory: bool = False) -> None:
        self.manifest = person_manifest(memory=memory)
        self.batch, self.takes_s = batch, takes_s
        self.details: dict[str, Any] = {}
        self.numbers: list[list[int]] = []
        self.fails = False
        self.closed = 0

    def infer(self, inputs: Any) -> dict[str, np.ndarray]:
        image = inputs["image"]
        assert len(image) == self.batch
        self.numbers.append([int(number) for number in image[:, 0, 0, 0]])
        time.sleep(self.takes_s)
        if self.fails:
            raise RuntimeError("the engine broke")
        mean = image.mean(axis=3)
        if self.manifest.memory:
            mean = (mean + inputs[PREVIOUS]) / 2
        return {"probability": mean.round().astype(np.uint8), "label_map": (mean >= 128).astype(np.uint8)}

    def begin(self, inputs: Any) -> None:
        return None

    def borrow_input(self) -> None:
        return None

    def close(self) -> None:
        self.closed += 1


def picture(number: int) -> dict[str, np.ndarray]:
    return {"image": np.full((1, 32, 32, 3), number, np.uint8)}


def ask(batcher: Batcher, numbers: range) -> dict[int, Any]:
    """One call of a thread each; what came back, an error included."""
    answers: dict[int, Any] = {}

    def call(number: int) -> None:
        try:
            answers[number] = int(batcher.infer(picture(number), NAMES)["probability"][0, 5, 5])
        except Exception as error:
            answers[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def test_everybody_gets_the_answer_to_the_own_picture() -> None:
    single, several = Several(1), Several(4, takes_s=0.01)
    batcher = Batcher(single, several, 4, 10_000)
    assert ask(batcher, range(12)) == {number: number for number in range(12)}
    assert batcher.full == len(several.numbers) == 3 and not single.numbers and not batcher.partial
    assert sorted(sum(several.numbers, [])) == list(range(12))


def test_at_the_deadline_what_came_goes_one_by_one() -> None:
    single, several = Several(1), Several(4)
    batcher = Batcher(single, several, 4, 100)
    started = time.monotonic()
    assert ask(batcher, range(2)) == {0: 0, 1: 1}
    assert time.monotonic() - started >= 0.09
    assert sorted(single.numbers) == [[0], [1]] and not several.numbers and (batcher.full, batcher.partial)[0] == 0
    # Nobody waits where there is nothing to wait for.
    assert ask(Batcher(single, several, 4, 0), range(1)) == {0: 0}


def test_an_error_comes_out_of_each_call_of_its_batch_and_of_no_other() -> None:
    several = Several(3)
    batcher = Batcher(Several(1), several, 3, 10_000)
    several.fails = True
    assert [str(error) for error in ask(batcher, range(3)).values()] == ["the engine broke"] * 3
    several.fails = False
    assert ask(batcher, range(3)) == {0: 0, 1: 1, 2: 2}


def test_memory_of_the_backend_is_not_borrowed_for_a_batch() -> None:
    """It would never come back: a full batch goes to the other backend."""

    class Lends(Several):
        def borrow_input(self) -> None:
            raise AssertionError("lent")

    with Segmenter(Lends(1), batcher=Batcher(Lends(1), Several(2), 2, 1)) as segmenter:
        assert segmenter.preprocess(np.zeros((4, 4, 3), np.uint8))[0].shape == (1, 32, 32, 3)


def test_closed() -> None:
    several = Several(2)
    batcher = Batcher(Several(1), several, 2, 1)
    batcher.close()
    batcher.close()
    assert several.closed == 1
    with pytest.raises(ModelError, match="closed"):
        batcher.infer(picture(1), NAMES)


@pytest.mark.parametrize("size, deadline_ms", [(1, 5.0), (2, -1.0), (2, float("nan")), (2, float("inf"))])
def test_what_is_no_batch(size: int, deadline_ms: float) -> None:
    with pytest.raises(UsageError):
        Batcher(Several(1), Several(2), size, deadline_ms)


def run(sources: list[ToySource], segmenter: Segmenter) -> tuple[Streams, list[Recorder]]:
    sinks, turnstile = (
        [Recorder() for _ in sources],
        Turnstile(2 * (segmenter.batcher.size if segmenter.batcher else 1)),
    )
    streams = Streams(
        [Pipeline(source, segmenter, [sink], turnstile=turnstile) for source, sink in zip(sources, sinks, strict=True)]
    )
    streams.start()
    streams.join()
    return streams, sinks


class Pictures(ToySource):
    """Noise, another for each stream."""

    def __init__(self, seed: int) -> None:
        super().__init__(count=12 + seed)
        self.seed = seed

    def __iter__(self) -> Iterator[Any]:
        rng = np.random.default_rng(self.seed)
        for frame in super().__iter__():
            frame.image[:] = rng.integers(0, 256, frame.image.shape, np.uint8)
            yield frame


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_masks_are_those_of_one_at_a_time(tiny_model: Path, backend: str) -> None:
    pytest.importorskip(backend)
    with (
        open_segmenter(tiny_model, backend) as single,
        open_segmenter(tiny_model, backend, batch=3, deadline_ms=20) as batched,
    ):
        assert single.batcher is None and batched.batcher is not None
        wanted = run([Pictures(seed) for seed in range(5)], single)[1]
        streams, found = run([Pictures(seed) for seed in range(5)], batched)
        assert batched.batcher.full > 5
    assert [len(sink.results) for sink in found] == [12, 13, 14, 15, 16] and streams.counts()["failed"] == 0
    for one, other in zip(wanted, found, strict=True):
        assert one.numbers == other.numbers
        for a, b in zip(one.results, other.results, strict=True):
            np.testing.assert_array_equal(a.label_map, b.label_map)
            np.testing.assert_array_equal(a.probability, b.probability)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_shipped_model_takes_batches(backend: str) -> None:
    pytest.importorskip(backend)
    from edgeseg.runtime.zoo import find_model

    path = find_model("person-landscape").files["int8"]
    with load_backend(path, backend) as single, load_backend(path, backend, batch=2) as several:
        size = (single.manifest.height, single.manifest.width, 3)
        images = np.random.default_rng(3).integers(0, 256, (2, *size), np.uint8)
        found = several.infer({"image": images})
        for place in range(2):
            alone = single.infer({"image": images[place : place + 1]})
            # Sums may be added up in another order.
            apart = np.abs(alone["probability"][0].astype(int) - found["probability"][place])
            assert apart.max() <= 2 and (alone["label_map"][0] != found["label_map"][place]).mean() < 1e-3


def test_streams_keep_a_memory_each() -> None:
    def answers(segmenter: Segmenter) -> list[list[int]]:
        sinks = run([ToySource(20), ToySource(20)], segmenter)[1]
        return [[int(result.probability[0, 0]) for result in sink.results] for sink in sinks]  # type: ignore[index]

    single, several = Several(1, memory=True), Several(2, memory=True)
    alone = answers(Segmenter(Several(1, memory=True)))  # type: ignore[arg-type]
    batched = Segmenter(single, batcher=Batcher(single, several, 2, 50))  # type: ignore[arg-type]
    assert answers(batched) == alone and alone[0] == alone[1] and several.numbers
    batched.close()
    assert (single.closed, several.closed) == (1, 1)


def test_who_came_first_is_answered_first() -> None:
    entered, go, several = threading.Event(), threading.Event(), Several(2)

    class Held(Several):
        def infer(self, inputs: Any) -> dict[str, np.ndarray]:
            entered.set()
            assert go.wait(60)
            return super().infer(inputs)

    single = Held(1)
    batcher = Batcher(single, several, 2, 0)
    threads = [threading.Thread(target=batcher.infer, args=(picture(number), NAMES)) for number in range(7)]
    threads[0].start()  # alone, and at once
    assert entered.wait(60)
    for place, thread in enumerate(threads[1:], start=1):
        thread.start()
        until(lambda place=place: len(batcher._waiting) == place)
    go.set()
    for thread in threads:
        thread.join(60)
    assert single.numbers == [[0]] and several.numbers == [[1, 2], [3, 4], [5, 6]]


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_nobody_is_left_out_where_streams_queue() -> None:
    """Six streams that always have a frame, batches of two, and four places before them."""
    single, several = Several(1, takes_s=0.01), Several(2, takes_s=0.01)
    segmenter = Segmenter(single, batcher=Batcher(single, several, 2, 1000))  # type: ignore[arg-type]
    turnstile = Turnstile(4)
    streams = Streams([Pipeline(ToySource(None), segmenter, [Recorder()], turnstile=turnstile) for _ in range(6)])
    streams.start()
    until(lambda: streams.counts()["frames_out"] >= 180)
    streams.stop()
    streams.join()
    each = streams.to_dict()["streams"]
    out = [own["frames_out"] for own in each]
    assert min(out) >= 0.5 * max(out), out
    assert segmenter.batcher is not None and segmenter.batcher.full > segmenter.batcher.partial
    assert all(own["frames_in"] == own["frames_out"] + own["dropped"] for own in each)


def test_what_takes_no_batches_says_so(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeseg.runtime import backends

    monkeypatch.setattr(backends, "_present", lambda package: True)
    with pytest.raises(UsageError, match="one picture a call: tensorrt, 2"):
        load_backend(tiny_model, "tensorrt", batch=2)
