"""GPU memory: one contract for the stand-in and, where there is a GPU, for both real providers."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from fake_gpu import HostGpu

from edgeseg.errors import BackendError
from edgeseg.runtime.backends import gpu as gpu_module
from edgeseg.runtime.backends.gpu import Gpu, gpu_count, open_gpu


def real(package: str) -> object:
    absent = find_spec(package.partition(".")[0]) is None
    skip = pytest.mark.skipif(absent, reason=f"{package} is not installed")
    return pytest.param(package, marks=[pytest.mark.gpu, skip])


@pytest.fixture(params=["stand-in", "stand-in, integrated", real("cuda.bindings"), real("pycuda")])
def gpu(request: pytest.FixtureRequest) -> Gpu:
    if request.param.startswith("stand-in"):
        return HostGpu(integrated="integrated" in request.param)
    return open_gpu(None, "the test", request.param)


def test_there_and_back(gpu: Gpu) -> None:
    sent = np.random.default_rng(0).integers(0, 256, 100_003, np.uint8)
    with gpu.bound():
        device, out, back = gpu.allocate(sent.size), gpu.host(sent.size), gpu.host(sent.size)
        out.array[:] = sent
        gpu.upload(device, out.array)
        gpu.download(back.array, device)
        gpu.wait()
        np.testing.assert_array_equal(back.array, sent)
        assert (out.address != 0) == gpu.integrated
        out.free()
        back.free()
        gpu.free(device)
    assert gpu.name and "." in gpu.compute_capability and gpu.stream
    gpu.close()
    gpu.close()


def test_what_is_queued_comes_in_order_also_after_another_stream(gpu: Gpu) -> None:
    with gpu.bound():
        device, first, second, back = gpu.allocate(64), gpu.host(64), gpu.host(64), gpu.host(64)
        first.array[:], second.array[:] = 1, 2
        gpu.wait_for(gpu.stream)
        gpu.upload(device, first.array)
        gpu.upload(device, second.array)
        gpu.download(back.array, device)
        gpu.wait()
        assert set(back.array.tolist()) == {2}
        for memory in (first, second, back):
            memory.free()
        gpu.free(device)
    gpu.close()


def test_uploads_beside_the_stream_are_there_for_what_waits_for_them(gpu: Gpu) -> None:
    with gpu.bound():
        device, out, back = gpu.allocate(64), gpu.host(64), gpu.host(64)
        for value in (3, 4):
            out.array[:] = value
            gpu.upload_beside(device, out.array)
            gpu.wait_for_uploads()
            gpu.download(back.array, device)
            gpu.wait()
            assert set(back.array.tolist()) == {value}
        out.free()
        back.free()
        gpu.free(device)
    gpu.close()


def test_a_mark_is_waited_for_without_what_stands_behind_it(gpu: Gpu) -> None:
    with gpu.bound():
        device, out, first, second = gpu.allocate(64), gpu.host(64), gpu.host(64), gpu.host(64)
        out.array[:] = 9
        mark = None
        for _ in range(2):  # a mark may be moved
            first.array[:] = second.array[:] = 0
            gpu.upload(device, out.array)
            gpu.download(first.array, device)
            mark = gpu.mark(mark)
            gpu.download(second.array, device)
            gpu.wait(mark)
            assert set(first.array.tolist()) == {9}
            gpu.wait()
            assert set(second.array.tolist()) == {9}
        for memory in (out, first, second):
            memory.free()
        gpu.free(device)
    gpu.close()


def test_a_graph_does_it_again_with_what_is_there_then(gpu: Gpu) -> None:
    if not gpu.has_graphs:
        pytest.skip(f"{gpu.provider} records no graphs")
    with gpu.bound():
        device, out, back = gpu.allocate(64), gpu.host(64), gpu.host(64)
        out.array[:], back.array[:] = 1, 0
        gpu.begin_capture()
        gpu.upload(device, out.array)
        gpu.download(back.array, device)
        graph = gpu.end_capture()
        gpu.wait()
        assert set(back.array.tolist()) == {0}, "recorded, not run"
        for value in (5, 6):
            out.array[:] = value
            gpu.launch(graph)
            gpu.wait()
            assert set(back.array.tolist()) == {value}
        out.free()
        back.free()
        gpu.free(device)
    gpu.close()


def test_too_little_memory_is_an_error_of_ours(gpu: Gpu) -> None:
    with gpu.bound(), pytest.raises(BackendError, match="too little free memory: .* MiB wanted"):
        gpu.allocate(1 << 46)
    gpu.close()


def test_a_number_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "gpu_count", lambda: 2)
    for word in ("2", "cuda:7", "GPU", "-1"):
        with pytest.raises(BackendError, match=r"tensorrt has no such device here.*from 0 to 1"):
            open_gpu(word, "tensorrt")
    monkeypatch.setattr(gpu_module, "_PROVIDERS", {"no_such_package.inside": "x:Y"})
    with pytest.raises(BackendError, match="no package for GPU memory is installed"):
        open_gpu("cuda:1", "tensorrt")


@pytest.mark.skipif(gpu_count() > 0, reason="there is a GPU")
def test_no_gpu_here() -> None:
    with pytest.raises(BackendError, match=r"tensorrt finds no GPU.*auto"):
        open_gpu(None, "tensorrt")
