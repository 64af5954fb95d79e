"""Recipes: the shipped one is valid, overrides reach inner keys, and each mistake names itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.errors import InputError, UsageError
from edgeseg.train.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
PERSON = ROOT / "recipes" / "person.yaml"


def test_the_shipped_recipe_uses_no_test_or_val_parts_to_train() -> None:
    recipe = load_recipe(PERSON)
    assert recipe.classes == ("background", "person")
    assert {item.split for item in recipe.train} == {"train"}
    assert recipe.phase(0).batch == recipe.phases[0].batch
    assert recipe.phase(recipe.steps - 1) is recipe.phases[-1]


def test_overrides_reach_inner_keys() -> None:
    recipe = load_recipe(PERSON, ["steps=7", "optimizer.lr=0.5", "scenes.geometric.zoom=[1, 2]"])
    assert recipe.steps == 7
    assert recipe.optimizer.lr == 0.5
    assert recipe.scenes.geometric.zoom == (1.0, 2.0)


ROAD = ROOT / "recipes" / "road.yaml"
WEIGHTS, START = "../../weights/efficientnet-lite0-57934424.pth", "recipes/starts/road.onnx"


@pytest.mark.parametrize(
    ("changes", "weights", "init", "told"),
    [
        ([], WEIGHTS, START, 0),
        (["encoder_weights=mine.pth"], "mine.pth", None, 1),
        ([f"encoder_weights={WEIGHTS}"], WEIGHTS, None, 1),
        (["encoder_weights=mine.pth", "init=null"], "mine.pth", None, 0),
        (["encoder_weights=null", "init=mine.pt"], None, "mine.pt", 0),
        (["encoder_weights=null"], None, START, 0),
        (["init=mine.pt"], WEIGHTS, "mine.pt", 0),
    ],
)
def test_encoder_weights_that_are_asked_for_take_init_back(
    changes: list[str], weights: str | None, init: str | None, told: int
) -> None:
    lines: list[str] = []
    recipe = load_recipe(ROAD, changes, lines.append)
    assert (recipe.encoder_weights, recipe.init) == (weights, init)
    assert len(lines) == told and all(START in line for line in lines)


def test_two_starts_on_the_command_line_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two starts.*encoder_weights=a.pth init=b.pt. Give one"):
        load_recipe(ROAD, ["init=b.pt", "encoder_weights=a.pth"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("step=7", "unknown key in .*: step. Did you mean 'steps'"),
        ("optimizer.rate=1", "unknown key in .*optimizer: rate"),
        ("steps=many", "is no int: many"),
        ("ema=slow", "is no number: slow"),
        ("size=[256]", "wrong length"),
        ("classes=person", "is no list"),
        ("optimizer=3", "is no mapping"),
        ("nonsense", "not a key=value pair"),
    ],
)
def test_a_mistake_names_itself(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe(PERSON, [override])


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the recipe"):
        load_recipe(tmp_path / "nothing.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(InputError, match="no mapping"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "short.yaml").write_text("name: x")
    with pytest.raises(UsageError, match="incomplete"):
        load_recipe(tmp_path / "short.yaml")
