"""The backend for engines on the stand-ins of fake_gpu.py: what it computes, moves and records, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fake_gpu import FakeTensorRt, FakeTensorRtRtx, HostGpu, at, write_engine
from stand_ins import Recorder, ToySource

from edgeseg.errors import BackendError, InputError, ModelError
from edgeseg.manifest import beside
from edgeseg.runtime.backends import load_backend, tensorrt_backend
from edgeseg.runtime.backends.engine_backend import EngineBackend
from edgeseg.runtime.backends.engine_file import EngineMisfit, read_engine_file
from edgeseg.runtime.backends.tensorrt_backend import open_engine
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter

MakeModel = Callable[..., Path]
Bytes = npt.NDArray[np.uint8]
GPUS = pytest.mark.parametrize("integrated", [False, True], ids=["discrete", "integrated"])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture
def engine(tiny_model: Path, tmp_path: Path) -> Path:
    return write_engine(tmp_path / "tiny.engine", tiny_model)


def picture(seed: int, count: int = 1) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def opened(path: Path, gpu: HostGpu | None = None, library: Any = None) -> EngineBackend:
    return open_engine(path, None, None, "tensorrt", library or FakeTensorRt(), gpu or HostGpu())


@GPUS
def test_the_same_as_onnx_runtime_and_recorded_at_the_second_use(
    engine: Path, tiny_model: Path, integrated: bool
) -> None:
    gpu = HostGpu(integrated)
    with opened(engine, gpu) as backend, load_backend(tiny_model, "onnxruntime") as reference:
        assert (backend.name, backend.device) == ("tensorrt", "0 (Fake)")
        before = gpu.copies
        for seed in range(12):
            found, wanted = (one.infer({"image": picture(seed)}) for one in (backend, reference))
            for name in ("label_map", "probability"):
                assert found[name].dtype == np.uint8
                np.testing.assert_array_equal(found[name], wanted[name])
        # Three slots, each plain at first, recorded the second time; the golden frame was one plain run.
        assert gpu.launches == 10
        assert backend.details["cuda_graphs"] and backend.details["compute_capability"] == "8.7"
        assert (gpu.copies == before == 0) == integrated
    assert gpu.alive == {} and gpu.closed == 1
    with pytest.raises(ModelError, match="closed"):
        backend.infer({"image": picture(0)})
    assert backend.borrow_input() is None
    backend.close()


def test_memory_that_is_lent_is_what_the_engine_reads(engine: Path) -> None:
    gpu = HostGpu(integrated=True)
    with opened(engine, gpu) as backend:
        lent = [backend.borrow_input() for _ in range(3)]
        assert lent[2] is None, "the last one stays for pictures that lie elsewhere"
        np.testing.assert_array_equal(backend.infer({"image": picture(3)})["probability"], mean(picture(3)))
        for seed, array in enumerate(lent[:2]):
            assert array is not None and any(memory.ctypes.data == array.ctypes.data for memory in gpu.alive.values())
            array[:] = picture(seed)
        for seed, array in enumerate(lent[:2]):
            assert array is not None
            for _ in range(2):  # also when it is given a second time
                np.testing.assert_array_equal(backend.infer({"image": array})["probability"], mean(picture(seed)))
        assert backend.borrow_input() is not None


def test_threads_that_borrow_at_once_leave_the_last_slot(engine: Path) -> None:
    class Slow(deque[Any]):
        """Another thread comes in between a look at the length and what is done about it."""

        def __len__(self) -> int:
            length = super().__len__()
            time.sleep(0.01)
            return length

    with opened(engine) as backend, ThreadPoolExecutor(6) as pool:
        backend._free = Slow(backend._free)
        lent = [place for place in pool.map(lambda _: backend.borrow_input(), range(6)) if place is not None]
        assert len(lent) == 2
        np.testing.assert_array_equal(backend.infer({"image": picture(3)})["probability"], mean(picture(3)))


def test_what_was_lent_comes_back_from_a_call_that_is_refused(make_tiny_model: MakeModel, tmp_path: Path) -> None:
    path = write_engine(tmp_path / "memory.engine", with_memory(make_tiny_model(tmp_path / "memory.onnx", memory=True)))
    with opened(path) as backend:
        for _ in range(5):
            image = backend.borrow_input()
            assert image is not None
            with pytest.raises(InputError, match="previous_probability"):
                backend.infer({"image": image})


def mean(image: Bytes) -> Bytes:
    return image.astype(np.float32).mean(axis=3).round().astype(np.uint8)


@GPUS
def test_a_segmenter_resizes_into_it(engine: Path, integrated: bool) -> None:
    backend = opened(engine, HostGpu(integrated))
    places = {backend._slots[k].array("image", (1, 32, 32, 3)).ctypes.data for k in range(3)}
    with Segmenter(backend) as segmenter:
        for _ in range(5):
            frame = np.full((64, 96, 3), 200, np.uint8)
            image, _ = segmenter.preprocess(frame)
            assert image.ctypes.data in places
            assert set(segmenter.infer(image)["probability"].ravel().tolist()) == {200}
            assert segmenter(frame).label_map.shape == (64, 96)


@GPUS
def test_the_next_picture_goes_up_while_the_engine_is_at_the_one_before(engine: Path, integrated: bool) -> None:
    gpu, library = HostGpu(integrated), FakeTensorRt()
    with opened(engine, gpu, library) as backend:
        gpu.launches = 0
        begun: deque[Any] = deque()
        for seed in range(12):
            image = backend.borrow_input() if seed % 2 else None  # also pictures that lie elsewhere
            image = picture(seed) if image is None else image
            image[:] = picture(seed)
            begun.append((seed, backend.begin({"image": image})))
            if len(begun) == 2:
                assert backend.begin({"image": picture(99)}) is None, "the last place stays for infer"
                before = library.runs
                number, fetch = begun.popleft()
                np.testing.assert_array_equal(fetch()["probability"], mean(picture(number)))
                assert library.runs == before + 1, "what was begun behind it was waited for, too"
        # In between, one that is not begun: it comes behind, and mixes nothing up.
        np.testing.assert_array_equal(backend.infer({"image": picture(50)})["probability"], mean(picture(50)))
        number, fetch = begun.popleft()
        np.testing.assert_array_equal(fetch()["probability"], mean(picture(number)))
        # Each slot's first call is plain, the others are recorded; on an integrated GPU both kinds are one.
        assert gpu.launches > 6
        lent = [backend.borrow_input() for _ in range(3)]
        assert [place is None for place in lent] == [False, False, True], "all places came back"


def test_what_was_begun_and_refused_or_never_fetched_leaves_nothing(engine: Path) -> None:
    gpu = HostGpu()
    backend = opened(engine, gpu)
    for _ in range(5):
        with pytest.raises(InputError, match="image"):
            backend.begin({"image": picture(0, 2)})
    assert backend.begin({"image": OnGpu(gpu, picture(0))}) is None, "nothing goes up"  # type: ignore[dict-item]
    fetch = backend.begin({"image": picture(1)})
    backend.close()
    assert fetch is not None and gpu.closed == 1
    with pytest.raises(ModelError, match="closed"):
        fetch()
    with pytest.raises(ModelError, match="closed"):
        backend.begin({"image": picture(1)})


@pytest.mark.parametrize(("policy", "ahead"), [("all", True), ("newest", False)])
def test_files_are_worked_on_one_frame_ahead(engine: Path, policy: str, ahead: bool) -> None:
    gpu, sink = HostGpu(), Recorder()
    beside: list[int] = []
    upload = gpu.upload_beside
    gpu.upload_beside = lambda *args: (beside.append(1), upload(*args))[1]  # type: ignore[method-assign]
    with Segmenter(opened(engine, gpu)) as segmenter:
        pipeline = Pipeline(ToySource(20), segmenter, [sink], policy=policy)
        pipeline.start()
        pipeline.join()
    counts = pipeline.stats.counts()
    assert counts["frames_in"] == counts["frames_out"] + counts["dropped"] and not counts["failed"]
    assert bool(beside) == ahead
    if ahead:
        assert sink.numbers == list(range(20))
    for result in sink.results:
        assert result.probability is not None and set(result.probability.ravel().tolist()) == {result.frame_number}


def test_a_failure_one_frame_ahead_loses_that_frame_alone(engine: Path) -> None:
    sink = Recorder()
    with Segmenter(opened(engine)) as segmenter:
        begin, calls = segmenter.begin, iter(range(100))

        def fails_at_five(image: Bytes) -> Any:
            if next(calls) == 5:
                raise ModelError("the engine failed", "here", "Build it again")
            return begin(image)

        segmenter.begin = fails_at_five  # type: ignore[method-assign]
        pipeline = Pipeline(ToySource(20), segmenter, [sink])
        pipeline.start()
        with pytest.raises(ModelError, match="the engine failed"):
            pipeline.join()
    counts = pipeline.stats.counts()
    assert sink.numbers == [0, 1, 2, 3, 4] and counts["failed"] == 1
    assert counts["frames_in"] == counts["frames_out"] + counts["dropped"] + counts["failed"]


def test_tiles_of_a_frame_overlap_too(engine: Path) -> None:
    with Segmenter(opened(engine)) as segmenter:
        found = segmenter.infer(np.concatenate([picture(seed) for seed in range(7)]))["probability"]
    np.testing.assert_array_equal(found, np.concatenate([mean(picture(seed)) for seed in range(7)]))


def test_several_pictures_at_once(tiny_model: Path, tmp_path: Path) -> None:
    path = write_engine(tmp_path / "batch.engine", tiny_model, batch=(1, 2, 4))
    gpu = HostGpu()
    with opened(path, gpu) as backend:
        for count in (1, 4, 2, 1):
            found = backend.infer({"image": picture(count, count)})
            np.testing.assert_array_equal(found["probability"], mean(picture(count, count)))
        assert gpu.launches == 0, "sizes that vary are not recorded"
        with pytest.raises(ModelError, match=r"image \[5, 32, 32, 3\]. Give at most \[4, 32, 32, 3\]"):
            backend.infer({"image": picture(0, 5)})


def test_a_model_with_memory(make_tiny_model: MakeModel, tmp_path: Path) -> None:
    path = write_engine(tmp_path / "memory.engine", with_memory(make_tiny_model(tmp_path / "memory.onnx", memory=True)))
    with opened(path) as backend:
        image, before = np.full((1, 32, 32, 3), 100, np.uint8), np.full((1, 32, 32), 200, np.uint8)
        found = backend.infer({"image": image, "previous_probability": before})
        assert set(found["probability"].ravel().tolist()) == {150}


def with_memory(model: Path) -> Path:
    """The same file, its probability averaged with the one before."""
    import onnx
    from onnx import TensorProto, helper

    loaded = onnx.load(model)
    shape = ["N", 32, 32]
    loaded.graph.input.append(helper.make_tensor_value_info("previous_probability", TensorProto.UINT8, shape))
    loaded.graph.initializer.append(helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]))
    rounding = next(place for place, node in enumerate(loaded.graph.node) if node.op_type == "Round")
    loaded.graph.node[rounding].input[0] = "both"
    for node in (
        helper.make_node("Div", ["sum", "two"], ["both"]),
        helper.make_node("Add", ["mean", "before"], ["sum"]),
        helper.make_node("Cast", ["previous_probability"], ["before"], to=TensorProto.FLOAT),
    ):
        loaded.graph.node.insert(rounding, node)
    onnx.checker.check_model(loaded)
    onnx.save(loaded, model)
    return model


class OnGpu:
    """An array of another library: where it lies, told by one of the two agreements."""

    def __init__(self, gpu: HostGpu, content: Bytes, stream: int | None = None, **more: Any) -> None:
        with gpu.bound():
            self.address = gpu.allocate(content.nbytes)
        at(self.address, content.nbytes)[:] = content.reshape(-1)
        self.__cuda_array_interface__ = {
            "shape": content.shape,
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
            "stream": stream,
            **more,
        }


def test_a_frame_on_the_gpu_is_read_where_it_lies(engine: Path) -> None:
    gpu = HostGpu()
    with opened(engine, gpu) as backend:
        for seed in range(8):
            before = gpu.copies
            frame = OnGpu(gpu, picture(seed), stream=77 if seed else None)
            found = backend.infer({"image": frame})  # type: ignore[dict-item]
            np.testing.assert_array_equal(found["probability"], mean(picture(seed)))
            assert gpu.copies - before == 2, "the two outputs come down, nothing goes up"
        assert gpu.waited_for == [77] * 7 and gpu.launches == 0
        with pytest.raises(InputError, match="C-contiguous"):
            backend.infer({"image": OnGpu(gpu, picture(0), strides=(1, 2, 3, 4))})  # type: ignore[dict-item]
        with pytest.raises(InputError, match=r"\[2, 32, 32, 3\]"):
            backend.infer({"image": OnGpu(gpu, picture(0, 2))})  # type: ignore[dict-item]


class ByDlpack:
    """The other agreement: numpy's own capsule, said to be of a GPU, whose memory is the host's here anyway."""

    def __init__(self, content: Bytes) -> None:
        self.content, self.streams = content, list[int]()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int) -> Any:
        self.streams.append(stream)
        return self.content.__dlpack__()


def test_a_frame_on_the_gpu_by_dlpack(engine: Path) -> None:
    gpu = HostGpu()
    with opened(engine, gpu) as backend:
        for seed in range(3):
            before, frame = gpu.copies, ByDlpack(picture(seed))
            found = backend.infer({"image": frame})  # type: ignore[dict-item]
            np.testing.assert_array_equal(found["probability"], mean(picture(seed)))
            assert gpu.copies - before == 2, "the two outputs come down, nothing goes up"
            # Its owner was told the engine's stream, so there is none to wait for.
            assert frame.streams == [gpu.stream] and gpu.waited_for == []
        with pytest.raises(InputError, match="C-contiguous"):
            backend.infer({"image": ByDlpack(picture(0)[:, ::-1])})  # type: ignore[dict-item]


def test_what_cannot_be_recorded_runs_without(engine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gpu = HostGpu()
    gpu.refuses_capture = True
    with opened(engine, gpu) as backend:
        for seed in range(8):
            np.testing.assert_array_equal(backend.infer({"image": picture(seed)})["probability"], mean(picture(seed)))
    assert gpu.launches == 0
    assert capfd.readouterr().err == (
        "tensorrt runs without CUDA graphs: operation not permitted when stream is capturing\n"
    )


def test_tensorrt_rtx_keeps_what_it_compiled(tiny_model: Path, tmp_path: Path, cache: Path) -> None:
    path = write_engine(
        tmp_path / "rtx.engine", tiny_model, library="tensorrt-rtx", version="1.7.1", compute_capability="8.0 and later"
    )
    library, gpu = FakeTensorRtRtx(), HostGpu(compute_capability="12.0")
    for _ in range(2):
        with open_engine(path, None, None, "tensorrt-rtx", library, gpu) as backend:
            np.testing.assert_array_equal(backend.infer({"image": picture(1)})["probability"], mean(picture(1)))
    whole = library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    assert library.seen == [(whole, b"nothing"), (whole, b"compiled")] and gpu.launches == 0
    assert len(list(cache.glob("*.rtx"))) == 1


def test_the_golden_frame_decides_at_the_first_load(engine: Path, cache: Path) -> None:
    library, gpu = FakeTensorRt(), HostGpu()
    library.wrong = True
    with pytest.raises(ModelError, match=r"does not agree with ONNX Runtime: .*0\.00 % of the golden") as caught:
        opened(engine, gpu, library)
    assert caught.value.exit_code == 4 and gpu.alive == {} and gpu.closed == 1
    assert not list(cache.glob("*.agreed")) if cache.exists() else True
    library.wrong = False
    opened(engine, library=library).close()
    assert [path.read_text().split()[0] for path in cache.glob("*.agreed")] == ["1.000000"]
    library.wrong = True  # checked once a device
    opened(engine, library=library).close()


@pytest.mark.parametrize(
    ("built", "told"),
    [
        ({"version": "10.3.0"}, r"another version of tensorrt: .*found 10\.3\.0, needed 10\.15\.1.*edgeseg build"),
        ({"compute_capability": "7.5"}, r"another GPU: .*found compute capability 7\.5, needed 8\.7 \(Fake\)"),
        ({"plugin": "/nowhere/lib.so", "plugin_sha256": "0"}, r"plugin is missing: .*--plugin /nowhere/lib\.so"),
        ({"broken": True}, r"does not take the engine: .*Serialization assertion failed\b(?!.*line 7)"),
        ({"bytes": 10**6, "engine_sha256": "0" * 64}, r"cut off: .*needed 1000000 bytes.*--rebuild"),
        ({"bytes": 1, "engine_sha256": "0" * 64}, "is not the one that was built"),
    ],
)
def test_an_engine_that_does_not_fit(tiny_model: Path, tmp_path: Path, built: dict[str, Any], told: str) -> None:
    path, gpu = write_engine(tmp_path / "odd.engine", tiny_model, **built), HostGpu()
    with pytest.raises(EngineMisfit, match=told) as caught:
        opened(path, gpu)
    assert caught.value.exit_code == 4 and gpu.alive == {}


def test_an_engine_of_another_backend_or_without_its_manifest(engine: Path) -> None:
    with pytest.raises(ModelError, match="found tensorrt, asked for tensorrt-rtx"):
        open_engine(engine, None, None, "tensorrt-rtx", FakeTensorRtRtx(), HostGpu())
    with pytest.raises(ModelError, match="onnxruntime runs no engines"):
        load_backend(engine, "onnxruntime")
    manifest = json.loads(beside(engine).read_text())
    beside(engine).write_text(json.dumps({**manifest, "origin": {}}))
    with pytest.raises(ModelError, match="does not say what the engine was built by"):
        opened(engine)
    beside(engine).unlink()
    with pytest.raises(ModelError, match="no manifest beside it"):
        opened(engine)


def test_the_plugin_is_loaded_if_it_is_the_one(tiny_model: Path, tmp_path: Path) -> None:
    import hashlib

    plugin = tmp_path / "lib.so"
    plugin.write_bytes(b"one")
    path = write_engine(
        tmp_path / "p.engine", tiny_model, plugin=str(plugin), plugin_sha256=hashlib.sha256(b"one").hexdigest()
    )
    library = FakeTensorRt()
    opened(path, library=library).close()
    assert library.loaded_plugins == [str(plugin)]
    plugin.write_bytes(b"two")
    with pytest.raises(EngineMisfit, match="plugin is another one"):
        opened(path)


def test_a_full_gpu_is_said_and_nothing_stays(engine: Path) -> None:
    gpu = HostGpu(memory=20_000)
    with pytest.raises(BackendError, match="too little free memory"):
        opened(engine, gpu)
    assert gpu.alive == {} and gpu.closed == 1


@pytest.mark.parametrize("place", ["runtime", "engine", "context", "call"])
def test_memory_that_runs_out_is_said_and_not_built_again(
    place: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the library, a stand-in here: another build, which takes minutes, would not mend it."""
    memory = {"activation_bytes": 3 << 20, "persistent_bytes": 0, "weights_bytes": 1 << 20}
    path = write_engine(tmp_path / "full.engine", tiny_model, memory=memory)
    library, gpu = FakeTensorRt(), HostGpu()
    library.full_at = place
    told = "with error: 2" if place == "runtime" else r"\(out of memory\)"
    with pytest.raises(BackendError, match=rf"too little free memory: .*{told}.* said 4\.0 MiB\)") as caught:
        opened(path, gpu, library)
    assert caught.value.exit_code == 4 and gpu.alive == {} and gpu.closed == 1
    built: list[object] = []
    monkeypatch.setattr(tensorrt_backend, "cached_engine", lambda *_: path)
    monkeypatch.setattr(tensorrt_backend, "rebuild", built.append)
    with pytest.raises(BackendError, match="too little free memory"):
        opened(tiny_model, HostGpu(), library)
    assert built == []


def test_what_a_context_takes_is_the_library_s_word(engine: Path) -> None:
    with opened(engine) as backend:
        assert backend.details["context_bytes"] == 4096


def test_the_manifest_must_name_the_engine_s_tensors(engine: Path) -> None:
    file = read_engine_file(engine)
    wider = dataclasses.replace(file.manifest, width=48, output_width=48)
    beside(engine).write_text(wider.to_json())
    gpu = HostGpu()
    with pytest.raises(ModelError, match="not what its manifest says"):
        opened(engine, gpu)
    assert gpu.alive == {}


USED = {
    "ICudaEngine": (
        "num_io_tensors get_tensor_name get_tensor_mode get_tensor_dtype get_tensor_shape get_tensor_profile_shape "
        "create_execution_context device_memory_size_v2"
    ),
    "IExecutionContext": "set_input_shape get_tensor_shape set_tensor_address execute_async_v3",
    "Runtime": "deserialize_cuda_engine",
    "ILogger": "INTERNAL_ERROR ERROR WARNING",
    "TensorIOMode": "INPUT",
}


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_tensorrt_rtx_has_what_is_called_here() -> None:
    import tensorrt_rtx

    used = {
        **USED,
        "ICudaEngine": f"{USED['ICudaEngine']} create_runtime_config",
        "IRuntimeConfig": "cuda_graph_strategy create_runtime_cache set_runtime_cache",
        "IRuntimeCache": "deserialize serialize",
        "CudaGraphStrategy": "WHOLE_GRAPH_CAPTURE",
    }
    for name, members in used.items():
        for member in members.split():
            assert hasattr(getattr(tensorrt_rtx, name), member), f"{name}.{member}"
    assert {"UINT8", "FLOAT", "HALF"} <= set(tensorrt_rtx.DataType.__members__)
