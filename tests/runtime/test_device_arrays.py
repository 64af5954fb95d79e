"""Arrays of other libraries by DLPack: real capsules of numpy and torch, whose owner says that they lie on a GPU.

The memory is the host's, since there is no GPU here; a capsule is laid out in the same way for both.
"""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.runtime.backends.device_arrays import _Tensor, on_device

STREAM = 77
CUDA, MANAGED, CPU, PINNED = 2, 13, 1, 3


class Lent:
    """Stands for another library's array; keeps nothing but what makes its capsules."""

    def __init__(self, capsule: Callable[[], Any], device: int = CUDA) -> None:
        self._capsule, self._device = capsule, device
        self.streams: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0

    def __dlpack__(self, stream: int) -> Any:
        self.streams.append(stream)
        return self._capsule()


def pixels(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def handmade(address: int, **fields: Any) -> Any:
    """A capsule that no library here would make: uint8 [4] at the address, unless told otherwise."""
    shape = (ctypes.c_int64 * 1)(4)
    whole = {"ndim": 1, "code": 1, "bits": 8, "lanes": 1, "shape": shape, **fields}
    tensor = _Tensor(data=address, device_type=CUDA, **whole)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    capsule = new(ctypes.addressof(tensor), b"dltensor", None)
    _KEPT.append((tensor, shape))
    return capsule


_KEPT: list[Any] = []


@pytest.mark.parametrize("device", [CUDA, MANAGED])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float16, np.float32, np.bool_])
def test_an_array_is_taken_where_it_lies(dtype: Any, device: int) -> None:
    array = pixels(2, 3, 5, dtype=dtype)
    lent = Lent(array.__dlpack__, device)
    found = on_device(lent, STREAM)
    assert found is not None
    assert (found.address, found.shape, found.dtype) == (array.ctypes.data, (2, 3, 5), array.dtype)
    # Whoever wrote it was told who reads it: there is nothing left to wait for.
    assert lent.streams == [STREAM] and found.stream is None
    assert on_device(found, STREAM) is found


def test_a_tensor_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    whole = torch.arange(60, dtype=torch.uint8).reshape(3, 4, 5)
    part = whole[1:]
    found = on_device(Lent(part.__dlpack__), STREAM)
    assert found is not None
    assert (found.address, found.shape, found.dtype) == (whole.data_ptr() + 20, (2, 4, 5), np.uint8)
    with pytest.raises(InputError, match=r"C-contiguous: shape \[4, 3, 5\], strides \[5, 20, 1\]"):
        on_device(Lent(whole.permute(1, 0, 2).__dlpack__), STREAM)
    with pytest.raises(InputError, match="not known: DLPack's code 4, 16 bits, 1 lanes. Give uint8"):
        on_device(Lent(torch.zeros(3, dtype=torch.bfloat16).__dlpack__), STREAM)
    with pytest.raises(InputError, match="not lent by its owner"):
        on_device(Lent(torch.zeros(3, requires_grad=True).__dlpack__), STREAM)


def test_what_lies_on_the_host_is_none_and_not_asked_for() -> None:
    for device in (CPU, PINNED):
        lent = Lent(pixels(3).__dlpack__, device)
        assert on_device(lent, STREAM) is None and lent.streams == []
    assert on_device(pixels(3), STREAM) is None
    assert on_device([1, 2, 3], STREAM) is None


def test_the_memory_lives_as_long_as_what_was_taken() -> None:
    array = pixels(4, 4)
    alive, capsules = weakref.ref(array), [array.__dlpack__()]
    lent: Lent | None = Lent(capsules.pop)
    found = on_device(lent, STREAM)
    del array, lent
    gc.collect()
    assert alive() is not None and found is not None
    assert bytes((ctypes.c_uint8 * 16).from_address(found.address)) == bytes(range(16))
    del found
    gc.collect()
    assert alive() is None


def test_strides_of_sides_of_one_do_not_count_and_others_must_be_c_s() -> None:
    frame = pixels(6, 8, 3)
    assert on_device(Lent(frame[:1, :, :].__dlpack__), STREAM) is not None
    for view in (frame[:, ::2], frame[::-1], frame[:, :4], frame.transpose(1, 0, 2)):
        with pytest.raises(InputError, match=r"must be C-contiguous: shape \[.*\], strides \[.*\]. Make it contiguous"):
            on_device(Lent(view.__dlpack__), STREAM)


def test_offset_and_missing_strides() -> None:
    """Two liberties of the format that numpy and torch do not take."""
    array = pixels(16)
    found = on_device(Lent(lambda: handmade(array.ctypes.data, byte_offset=5)), STREAM)
    assert found is not None and found.address == array.ctypes.data + 5 and found.shape == (4,)
    steps = (ctypes.c_int64 * 1)(2)
    with pytest.raises(InputError, match="C-contiguous"):
        on_device(Lent(lambda: handmade(array.ctypes.data, strides=steps)), STREAM)


@pytest.mark.parametrize("fields", [{"code": 5, "bits": 64}, {"code": 7}, {"bits": 4}, {"lanes": 4}, {"bits": 128}])
def test_elements_that_numpy_has_not(fields: dict[str, int]) -> None:
    array = pixels(16)
    with pytest.raises(InputError, match="element type that is not known"):
        on_device(Lent(lambda: handmade(array.ctypes.data, **fields)), STREAM)
