"""`edgeseg models`: what ships, with sizes, terms and figures from each model's card."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Mapping
from typing import Any

HELP = "list the models that ship: sizes, input, terms, figures"
EXAMPLE = "edgeseg models --json -"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `models`."""
    from edgeseg.cli.arguments import add_json

    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Print the zoo, a block a model."""
    from edgeseg.cli.output import check_target, text_stream, write_json
    from edgeseg.runtime.zoo import list_models

    check_target(args.json)
    models = list_models()
    write_json({"models": models}, args.json)
    text = "\n\n".join(describe_model(model) for model in models)
    print(text or "no models ship with this installation", file=text_stream(args.json))
    return 0


# Each setting of the run that made a file.
RECIPE = re.compile(r"origin\.\w+\.recipe\.")


def describe_model(model: Mapping[str, Any]) -> str:
    """Name and files, then a line for each plain value of the card; lists, tables and recipes stay in the card."""
    files = ", ".join(f"{precision} {entry['bytes'] / 1e6:.2f} MB" for precision, entry in model["files"].items())
    lines = [f"{model['name']}: {files}"]
    for key, value in flat(model["card"], classes=model["card"].get("classes", ())):
        if key != "name" and not RECIPE.match(key):
            lines.append(f"  {key.replace('_', ' ')}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
    return "\n".join(lines)


def flat(card: Mapping[str, Any], parent: str = "", classes: Collection[str] = ()) -> list[tuple[str, Any]]:
    """Values of a card with their path as key ("figures.person-ccp.iou"), without lists and what is listed by class."""
    rows: list[tuple[str, Any]] = []
    for key, value in card.items():
        path = f"{parent}.{key}" if parent else key
        if isinstance(value, Mapping):
            rows += [] if value and set(value) <= set(classes) else flat(value, path, classes)
        elif not isinstance(value, list):
            rows.append((path, value))
    return rows
