"""Every recipe of the repository is read, its network is built, and what it starts from is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeseg.cli.main import parse
from edgeseg.data.instance_pool import InstancePool
from edgeseg.data.pool import Pool
from edgeseg.export.from_checkpoint import load_for_export
from edgeseg.models import INSTANCE_REGISTRY, build, build_instance
from edgeseg.models.base import EncodedNetwork, Network
from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0, load_imagenet
from edgeseg.models.slimming import is_wider
from edgeseg.train.optimizer import make_optimizer
from edgeseg.train.recipe import Recipe, load_recipe
from edgeseg.train.start import find_weights, start

ROOT = Path(__file__).resolve().parents[2]
RECIPES = [path for path in sorted((ROOT / "recipes").glob("*.yaml")) if not path.name.endswith(".about.yaml")]
# A checkpoint that another recipe's run leaves.
RUN = re.compile(r"runs/(?P<recipe>[\w-]+)/last\.pt")
# Recipes that name no data of ours.
FOR_USERS = {"own"}

pytestmark = pytest.mark.checkout


def network_of(recipe: Recipe) -> Network:
    """The recipe's network without data."""
    # Those who leave the classes to the set's classes.txt get three.
    count = len(recipe.classes) or 3
    with torch.device("meta"):
        if recipe.network.name in INSTANCE_REGISTRY:
            return build_instance(recipe.network.name, classes=count, **recipe.network.args)
        return build(recipe.network.name, classes=1 if count == 2 else count, **recipe.network.args)


def data_of(path: Path, shared: Path) -> Path:
    """The folder after `--data` in the command that the recipe's first lines show."""
    command = next(line for line in path.read_text().splitlines() if line.startswith("#   edgeseg train"))
    named = str(parse(shlex.split(command.lstrip("# ").partition("  ")[0])[1:]).data)
    assert named == "../shared" or named.startswith("../shared/"), named
    return shared / named.removeprefix("../shared").lstrip("/")


def shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}


def no_pictures(*_: Any) -> Any:
    raise AssertionError("no pictures are needed where the shapes are equal")


def naming(key: str) -> list[Any]:
    """The recipes in which `key` stands."""
    lines = re.compile(rf"^{key}: ", re.MULTILINE)
    return [pytest.param(path, id=path.stem) for path in RECIPES if lines.search(path.read_text())]


def test_there_are_recipes() -> None:
    assert {"road", "person", "pedestrian", "membrane", "own"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_read_and_its_network_built(path: Path) -> None:
    recipe = load_recipe(path)
    network = network_of(recipe)
    sizes = [recipe.size, *(size for phase in recipe.phases for size in phase.sizes)]
    # The classic U-Net and Mask R-CNN refuse a size that is not theirs.
    assert all(network.output_size(*size) <= size for size in sizes)
    assert make_optimizer(network, recipe.optimizer).param_groups
    assert recipe.phases[-1].until == 1.0
    if isinstance(network, EncodedNetwork):
        height, width = recipe.phases[0].sizes[0]
        assert all(side % network.stride == 0 for size in sizes[1:] for side in size)
        logits = network.eval()(torch.zeros(1, network.in_channels, height, width, device="meta"))
        assert logits.shape[-2:] == (height, width)


@pytest.mark.parametrize("path", [path for path in RECIPES if path.stem not in FOR_USERS], ids=lambda path: path.stem)
def test_the_sets_of_a_recipe_are_found_where_its_command_says(path: Path, shared: Path) -> None:
    recipe, data = load_recipe(path), data_of(path, shared)
    for item in (*recipe.train, *recipe.val):
        if recipe.network.name in INSTANCE_REGISTRY:
            assert len(InstancePool(data, item, recipe.classes, cache=False))
        else:
            assert len(Pool(data, item, len(recipe.classes), recipe.classes, cache=False))


@pytest.mark.parametrize("path", naming("encoder_weights"))
def test_encoder_weights_are_found_and_read(path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, data = load_recipe(path, ["init=null"]), data_of(path, shared)
    weights = find_weights(recipe, data)
    assert weights.is_relative_to(data)
    encoder = network_of(recipe).encoder  # type: ignore[union-attr]
    assert isinstance(encoder, EfficientNetLite0)
    assert is_wider(load_imagenet(weights), encoder)
    # The same file, named from the current folder on.
    monkeypatch.chdir(weights.parent)
    assert find_weights(load_recipe(path, [f"encoder_weights={weights.name}"]), data) == Path(weights.name)


@pytest.mark.parametrize("path", naming("init"))
def test_what_a_recipe_goes_on_from_is_there_and_has_its_decoder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = load_recipe(path)
    network = network_of(recipe)
    assert recipe.init and isinstance(network, EncodedNetwork)
    run = RUN.fullmatch(recipe.init)
    if run:
        # Not here before that recipe was trained; a run lies below its recipe's name.
        earlier = load_recipe(ROOT / "recipes" / f"{run['recipe']}.yaml")
        assert earlier.name == run["recipe"]
        trained = network_of(earlier)
    else:
        trained = load_for_export(recipe.init)[0]  # type: ignore[assignment]
    assert isinstance(trained, EncodedNetwork)
    assert shapes(trained.head_state()) == shapes(network.head_state())
    if recipe.name == "road":
        # What it goes on from has its own widths; those of `person` are slimmed on pictures.
        own = build(recipe.network.name, classes=len(recipe.classes), **recipe.network.args)
        start(own, recipe, Path("nowhere"), no_pictures, trained)
        given = trained.state_dict()
        assert all(torch.equal(value, given[key]) for key, value in own.state_dict().items())
