"""The fused step's kernel as a torch operator, against the reference of standard operators: values and gradients.

On the CPU it is the kernel's source compiled for the CPU; with a GPU the same tests run on the kernel itself.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from needed import skip_or_fail
from torch import Tensor

from edgeseg.errors import InputError
from edgeseg.export import fused_op, plugin
from edgeseg.models import ops

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# (batch, deep's channels, rows, columns, skip's channels, and its rows and columns beyond the upsampled map, scale)
SIZES = [(2, 3, 5, 7, 4, 1, 2, 2), (1, 16, 4, 8, 8, 0, 0, 2), (1, 8, 3, 2, 16, 3, 1, 3), (0, 2, 3, 4, 1, 0, 0, 2)]


@pytest.fixture(autouse=True)
def library() -> None:
    """What `make ext` leaves."""
    path = plugin.find_library()
    if path is None or not path.with_name(fused_op.CPU_LIBRARY).is_file():
        message = "no library of the kernels: run make ext"
        skip_or_fail(message)


def tensors(
    size: tuple[int, ...], dtype: torch.dtype, device: str, channels_last: bool = False
) -> tuple[Tensor, Tensor]:
    batch, deep_channels, rows, columns, skip_channels, more_rows, more_columns, scale = size
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (batch, deep_channels, rows, columns),
        (batch, skip_channels, scale * rows + more_rows, scale * columns + more_columns),
    ]
    made = []
    for shape in shapes:
        values = torch.randn(shape, generator=generator)
        values = (40 * values).round().clamp(-128, 127) if dtype == torch.int8 else values
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        made.append(values.to(device, dtype).contiguous(memory_format=memory_format))
    return made[0], made[1]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", fused_op.MODES)
@pytest.mark.parametrize("dtype", fused_op.TYPES, ids=str)
def test_values_are_the_reference_s(device: str, mode: str, dtype: torch.dtype) -> None:
    for size, channels_last in product(SIZES, (False, True)):
        deep, skip = tensors(size, dtype, device, channels_last)
        out = fused_op.upsample_crop_concat(deep, skip, size[-1], mode)
        assert out.dtype == dtype
        if size[0]:
            # float64, rounded once: as the kernel computes, ties to even for int8 too.
            expected = ops.upsample_crop_concat(deep.double(), skip.double(), size[-1], mode)
            expected = expected.round() if dtype == torch.int8 else expected
            close = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.int8: 0}[dtype]
            # A third of a step is no tie in exact arithmetic, and float64 is near enough: int8 must be equal.
            torch.testing.assert_close(out.double(), expected, rtol=close, atol=close)
            assert out.is_contiguous(memory_format=torch.channels_last) or not channels_last


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", fused_op.MODES)
def test_gradients_are_the_reference_s(device: str, mode: str) -> None:
    for size in SIZES[:3]:
        found = []
        for step in (fused_op.upsample_crop_concat, ops.upsample_crop_concat):
            deep, skip = (values.requires_grad_() for values in tensors(size, torch.float32, device))
            out = step(deep, skip, size[-1], mode)
            weights = torch.linspace(-1, 1, out.numel(), device=device).reshape(out.shape)
            (out * weights).sum().backward()
            found.append((deep.grad, skip.grad))
        for mine, reference in zip(*found, strict=True):
            torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("device", DEVICES)
def test_torch_takes_it_for_an_operator(device: str) -> None:
    deep, skip = (values.requires_grad_() for values in tensors(SIZES[0], torch.float32, device))
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.edgeseg.upsample_crop_concat, (deep, skip, 2, "bilinear"), test_utils=checks)


def test_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep, skip = tensors(SIZES[0], torch.float32, "cpu")
    step = fused_op.upsample_crop_concat
    with pytest.raises(ValueError, match="smaller than deep"):
        step(deep, skip[:, :, :-2])
    with pytest.raises(ValueError, match="share a device and one of the types"):
        step(deep, skip.half())
    with pytest.raises(ValueError, match="one of the types"):
        step(deep.double(), skip.double())
    with pytest.raises(ValueError, match="of one N"):
        step(deep, skip[:1])
    with pytest.raises(ValueError, match="mode one of bilinear, nearest: 2, cubic"):
        step(deep, skip, 2, "cubic")
    alone = tmp_path / plugin.LIBRARY
    alone.touch()
    monkeypatch.setenv("EDGESEG_PLUGIN", str(alone))
    fused_op._launcher.cache_clear()
    with pytest.raises(InputError, match="no library of the kernels"):
        step(deep, skip)
