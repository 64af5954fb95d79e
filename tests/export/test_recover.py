"""Weights come back from a file as they were before folding, so that it can be exported again or trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from export_helpers import ARGUMENTS, Exported, run_onnxruntime

from edgeseg.errors import ModelError
from edgeseg.export import check, fold, to_onnx
from edgeseg.export.recover import state_dict_from_onnx
from edgeseg.models import build


def test_weights_and_statistics_come_back(person: Exported) -> None:
    fresh = build("unet_lite", **ARGUMENTS)
    fresh.mean, fresh.std = person.model.mean, person.model.std
    state = state_dict_from_onnx(fresh, person.path)
    fresh.load_state_dict(state, strict=True)
    for key, value in person.model.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-6)
    # In training mode the norms use the batch's statistics: only unfolded weights give the same numbers there.
    x = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    for mode in (True, False):
        with torch.no_grad():
            torch.testing.assert_close(fresh.train(mode)(x), person.model.train(mode)(x), rtol=1e-3, atol=1e-3)
        for network in (fresh, person.model):
            network.load_state_dict(state)  # a pass in training mode moved the running statistics
    person.model.eval()


def test_exporting_again_gives_the_same_file(
    person: Exported, tmp_path: Path, pictures: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = build("unet_lite", **ARGUMENTS)
    fresh.mean, fresh.std = person.model.mean, person.model.std
    fresh.load_state_dict(state_dict_from_onnx(fresh, person.path))
    again = to_onnx.build(fresh, person.manifest)
    first, second = (run_onnxruntime(model, {"image": pictures}) for model in (onnx.load(person.path), again))
    assert np.abs(first["probability"].astype(int) - second["probability"]).max() <= 1


def test_without_the_norms_record_inference_is_still_right(person: Exported, tmp_path: Path) -> None:
    model = onnx.load(person.path)
    kept = [item for item in model.metadata_props if item.key != fold.NORMS_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "bare.onnx")
    fresh = build("unet_lite", **ARGUMENTS)
    fresh.mean, fresh.std = person.model.mean, person.model.std
    fresh.load_state_dict(state_dict_from_onnx(fresh, tmp_path / "bare.onnx"))
    assert check.check_export(fresh, person.path).max_levels <= 1


def test_another_network_is_refused(person: Exported) -> None:
    other = build("unet_lite", **(ARGUMENTS | {"decoder": [16, 8, 16]}))
    with pytest.raises(ModelError, match=r"another network.*steps\.2"):
        state_dict_from_onnx(other, person.path)


def test_a_damaged_record_is_an_error() -> None:
    with pytest.raises(ModelError, match="batch norms"):
        fold.unpack_norms('{"stem.1": {"weight": "!"}}')
