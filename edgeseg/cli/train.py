"""`edgeseg train`: trains what a recipe says, and resumes a run that was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from edgeseg.models.base import Network, SemanticNetwork
    from edgeseg.train.recipe import Recipe

HELP = "train a model by a recipe; the same command resumes a stopped run"
EXAMPLE = "edgeseg train recipes/person.yaml --data ../shared --out runs/person optimizer.lr=0.001"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    from edgeseg.cli.arguments import whole

    parser.add_argument("recipe", type=Path, metavar="RECIPE.yaml")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="replaces one value of the recipe")
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR", help="folders in the recipe start here")
    parser.add_argument("--out", type=Path, metavar="RUN", help="the run's folder (default runs/NAME of the recipe)")
    parser.add_argument("--check", action="store_true", help="read all pictures, count their classes, and end")
    parser.add_argument("--stop-at", type=whole("step", 1), metavar="STEP", help="leave a checkpoint there and end")


def handle(args: argparse.Namespace) -> int:
    """Train to the recipe's last step; an interrupted run goes on from its last checkpoint."""
    from edgeseg.errors import OutputError
    from edgeseg.export.from_checkpoint import load_for_export
    from edgeseg.runtime.notices import info, warn
    from edgeseg.train.loop import CHECKPOINT, Run
    from edgeseg.train.recipe import load_recipe, with_classes

    recipe = with_classes(load_recipe(args.recipe, args.changes, info), args.data)
    if args.check:
        return check(recipe, args.data)
    out = args.out or Path("runs") / recipe.name
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("cannot make the run's folder", f"{out} ({error.strerror})", "Choose another --out") from None
    initial = load_for_export(recipe.init)[0] if recipe.init and not (out / CHECKPOINT).exists() else None
    teachers = [cast("SemanticNetwork", load_for_export(teacher)[0]) for teacher in recipe.teachers]
    run = Run(recipe, args.data, out, cast("Network | None", initial), teachers)
    if run.group.first:
        info(f"{'resuming' if run.step else 'starting'} {out} at step {run.step} of {recipe.steps}")
    try:
        run.fit(args.stop_at)
    except KeyboardInterrupt:
        # Between checkpoints weights, averages and optimizer may be half a step apart, so nothing is saved here.
        warn(f"stopped at step {run.step}; the same command goes on from {out / CHECKPOINT}")
        return 0
    done = out / CHECKPOINT
    if run.group.first:
        print(f"{done}: step {run.step} of {recipe.steps}; next: edgeseg export {done} -o model.onnx")
    run.group.leave()
    return 0


def check(recipe: Recipe, data: Path) -> int:
    """Read every picture that the recipe names; the first bad file is an error."""
    from tqdm import tqdm

    from edgeseg.data.check import check_instances, check_set, table, unseen
    from edgeseg.data.instance_pool import InstancePool
    from edgeseg.data.pool import Pool
    from edgeseg.models import INSTANCE_REGISTRY
    from edgeseg.runtime.notices import warn

    count, reports = len(recipe.classes), []
    for item in (*recipe.train, *recipe.val):
        with tqdm(unit="picture", desc=item.path, leave=False) as bar:
            if recipe.network.name in INSTANCE_REGISTRY:
                found = InstancePool(data, item, recipe.classes, cache=False)
                bar.reset(len(found))
                reports.append(check_instances(found, count, lambda: bar.update(1)))
            else:
                pool = Pool(data, item, count, recipe.classes, cache=False)
                bar.reset(len(pool))
                reports.append(check_set(pool, lambda: bar.update(1)))
    print(table(reports, recipe.classes))
    for name in unseen(reports[: len(recipe.train)], recipe.classes):
        warn(f"no training picture shows {name}")
    return 0
