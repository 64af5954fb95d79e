"""Arrays of other libraries that already lie on the GPU, taken where they lie: torch, CuPy, CV-CUDA, JAX and others.

Two agreements carry them: `__cuda_array_interface__`, version 3
(https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html), and DLPack
(https://dmlc.github.io/dlpack/latest/c_api.html), whose capsule holds the structures that are laid out below.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.errors import InputError

_ON_CUDA = (2, 13)  # DLDeviceType: kDLCUDA, kDLCUDAManaged
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # DLDataTypeCode


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """A C-contiguous array on the GPU.

    Attributes:
        address: of its first element.
        shape: sizes of its dimensions.
        dtype: of its elements.
        stream: handle of the stream on which it is being written; None where it is done.
        owner: what keeps the memory alive.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int | None
    owner: Any


def on_device(value: Any, stream: int) -> DeviceArray | None:
    """An array that lies on a GPU; None for one of the host.

    Args:
        value: any object.
        stream: the stream that will read it.

    Raises:
        InputError: it is not contiguous, its elements are of a type that numpy has not, or its owner does not lend it.
    """
    if isinstance(value, DeviceArray):
        return value
    if isinstance(value, np.ndarray):
        return None
    described = getattr(value, "__cuda_array_interface__", None)
    if described is not None:
        return _by_interface(value, described)
    if hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) in _ON_CUDA:
        # The owner makes its own stream's work come before what this stream is given next.
        try:
            capsule = value.__dlpack__(stream=stream)
        except BufferError as error:
            raise InputError("an array on the GPU is not lent by its owner", error, "Give a plain copy of it") from None
        return _by_capsule(capsule, value)
    return None


def _by_interface(value: Any, described: dict[str, Any]) -> DeviceArray:
    dtype, shape = np.dtype(described["typestr"]), tuple(described["shape"])
    _check(shape, described.get("strides"), dtype.itemsize)
    # 1 is CUDA's name for its legacy default stream there, 2 for the one of each thread: both are handles as they are.
    return DeviceArray(int(described["data"][0]), shape, dtype, described.get("stream"), value)


class _Tensor(ctypes.Structure):
    """DLTensor, the first member of DLManagedTensor; the device and the data type are spelt out."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _by_capsule(capsule: Any, value: Any) -> DeviceArray:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    if tensor.code not in _KINDS or tensor.lanes != 1 or tensor.bits not in (8, 16, 32, 64):
        seen = f"DLPack's code {tensor.code}, {tensor.bits} bits, {tensor.lanes} lanes"
        raise InputError("an array on the GPU has an element type that is not known", seen, "Give uint8")
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[place] for place in range(tensor.ndim))
    strides = tuple(tensor.strides[place] * dtype.itemsize for place in range(tensor.ndim)) if tensor.strides else None
    _check(shape, strides, dtype.itemsize)
    # The capsule, kept, frees the memory when it goes: nobody renamed it to "used_dltensor".
    return DeviceArray((tensor.data or 0) + tensor.byte_offset, shape, dtype, None, (capsule, value))


def _check(shape: tuple[int, ...], strides: tuple[int, ...] | None, itemsize: int) -> None:
    if strides is None:
        return
    step = itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != step:
            seen = f"shape {list(shape)}, strides {list(strides)}"
            raise InputError("an array on the GPU must be C-contiguous", seen, "Make it contiguous first")
        step *= size
