"""A training checkpoint or a model file as the network and the manifest that export starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from export_helpers import ARGUMENTS, Exported, lively

from edgeseg.errors import InputError, ModelError, UsageError
from edgeseg.export.from_checkpoint import class_map, load_for_export
from edgeseg.models import build


def checkpoint(path: Path, **changes: Any) -> Path:
    """A file as training writes it, with `changes`."""
    model = lively(build("unet_lite", **ARGUMENTS), seed=4)
    body = {
        "format": 1,
        "name": "cats",
        "model": {"name": "unet_lite", "args": ARGUMENTS},
        "classes": ["background", "cat"],
        "colors": [[0, 0, 0], [1, 2, 3]],
        "size": [96, 128],
        "fit": "letterbox",
        "recipe": {"seed": 7},
        "step": 12,
        "ema": model.state_dict(),
    }
    torch.save(body | changes, path)
    return path


def test_a_checkpoint_gives_averaged_weights_and_manifest(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "last.pt")
    model, manifest = load_for_export(path)
    expected = lively(build("unet_lite", **ARGUMENTS), seed=4)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(model(x), expected(x))
    assert not model.training
    assert (manifest.name, manifest.height, manifest.width, manifest.fit) == ("cats", 96, 128, "letterbox")
    assert manifest.class_names == ("background", "cat") and manifest.classes[1].color == (1, 2, 3)
    assert (
        manifest.two_class
        and manifest.origin["recipe"] == {"seed": 7}
        and len(manifest.origin["checkpoint_sha256"]) == 64
    )


def test_another_size_moves_the_output_along(tmp_path: Path) -> None:
    _, manifest = load_for_export(checkpoint(tmp_path / "last.pt"), (72, 128))
    assert (manifest.height, manifest.width, manifest.output_height, manifest.output_width) == (72, 128, 72, 128)
    with pytest.raises(UsageError, match="0x5"):
        load_for_export(tmp_path / "last.pt", (0, 5))


def test_more_classes_set_the_networks_channels(tmp_path: Path) -> None:
    model = lively(build("unet_lite", classes=3, **ARGUMENTS))
    changes = {"classes": ["void", "road", "sky"], "colors": [], "ema": model.state_dict()}
    loaded, manifest = load_for_export(checkpoint(tmp_path / "last.pt", **changes))
    assert loaded(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert manifest.outputs == ("label_map",) and len({info.color for info in manifest.classes}) == 3


def test_a_model_file_comes_back_with_its_parent_noted(person: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0

    # The registry's network has one mean for all channels; this file was made from one with a mean a channel.
    monkeypatch.setattr(EfficientNetLite0, "mean", person.model.mean)
    monkeypatch.setattr(EfficientNetLite0, "std", person.model.std)
    model, manifest = load_for_export(person.path)
    torch.testing.assert_close(model.head.weight, person.model.head.weight)
    assert len(manifest.origin["parent_sha256"]) == 64 and manifest.class_names == ("background", "person")


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.pt"):
        load_for_export(tmp_path / "gone.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_for_export(tmp_path / "text.pt")
    torch.save({"weights": 1}, tmp_path / "foreign.pt")
    with pytest.raises(ModelError, match="not a checkpoint of edgeseg"):
        load_for_export(tmp_path / "foreign.pt")
    wrong = checkpoint(tmp_path / "wrong.pt", model={"name": "unet_lite", "args": ARGUMENTS | {"stem": 16}})
    with pytest.raises(ModelError, match="does not fit"):
        load_for_export(wrong)
    with pytest.raises(UsageError, match="unknown model"):
        load_for_export("no-such-model")


def test_colours_are_distinct_where_none_are_given() -> None:
    infos = class_map(["background", "a", "b"], [[9, 9, 9]])
    assert infos[0].color == (9, 9, 9) and infos[1].color != infos[2].color
