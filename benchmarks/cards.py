"""The cards of the models that ship: what their recipe says of them, what their files hold, what was measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from common import HERE
from texts import accuracy_tables, load, table

ROOT = HERE.parent
ZOO = ROOT / "edgeseg" / "zoo"


def shipped() -> dict[str, Path]:
    """Name of each model that ships -> the `.about.yaml` of its recipe, which may have more than one."""
    found = {}
    for path in sorted((ROOT / "recipes").glob("*.about.yaml")):
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["ships"]
        found.update({name: path for name in names if (ZOO / name / "model.onnx").is_file()})
    return found


def card(name: str, about_file: Path) -> dict[str, Any]:
    """Everything a card holds: static text, files with hashes, origin from the manifest, figures of the benchmarks."""
    import onnx

    from edgeseg.manifest import METADATA_KEY, Manifest

    about = yaml.safe_load(about_file.read_text(encoding="utf-8"))
    files, origin, manifest = {}, {}, None
    for precision, file in (("fp32", "model.onnx"), ("int8", "model.int8.onnx")):
        path = ZOO / name / file
        files[precision] = {
            "file": file,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        properties = {item.key: item.value for item in onnx.load(path).metadata_props}
        manifest = Manifest.from_json(properties[METADATA_KEY], path)
        origin[precision] = dict(manifest.origin)
    assert manifest
    people = [row for row in load("quality").get("rows", []) if row["model"] == name]
    measured = [row for row in load("accuracy").get("rows", []) if row["model"] == name]
    return {
        "name": name,
        "description": about["description"],
        "terms": " ".join(about["terms"].split()),
        "input": f"{manifest.height}x{manifest.width}, {manifest.fit}, uint8 BGR",
        "classes": list(manifest.class_names),
        "recipe": f"recipes/{about.get('recipes', {}).get(name) or about_file.name.removesuffix('.about.yaml')}.yaml",
        "intended_use": " ".join(about["intended_use"].split()),
        "limits": " ".join(about["limits"].split()),
        "data": about["data"],
        "files": files,
        "origin": origin,
        "figures": {_kind(row, bool(people)): row["figures"] for row in people or measured},
    }


def _kind(row: Mapping[str, Any], people: bool) -> str:
    """What a row of figures is of; those of people models hold every set."""
    kind = f"{row['precision']} {row['backend']}"
    return kind if people else f"{kind}, {row['figures']['data']} {row['figures']['split']}"


def card_text(body: Mapping[str, Any]) -> str:
    """The card for people."""
    files = [
        [f"`{f['file']}`", precision, f"{f['bytes'] / 1e6:.2f}", f"`{f['sha256'][:16]}…`"]
        for precision, f in body["files"].items()
    ]
    data = [[d["name"], d["part"], d["source"], d["terms"]] for d in body["data"]]
    revision = body["origin"]["fp32"].get("revision")
    revision = f", exported at revision {revision}" if revision else ""
    parts = [
        f"# {body['name']}\n\n{body['description']}",
        f"**Terms.** {body['terms']}",
        f"**Input.** {body['input']}. **Classes.** {', '.join(body['classes'])}.",
        f"**Recipe.** `{body['recipe']}`{revision}; log: `training.jsonl`.",
        f"**Intended use.** {body['intended_use']}",
        f"**Limits.** {body['limits']}",
        "## Files\n\n" + table(["file", "precision", "MB", "sha256"], files),
        "## Figures\n\n" + figures_text(body["figures"]),
        "## Training data\n\n" + table(["set", "part", "source", "terms"], data),
    ]
    return "\n\n".join(parts) + "\n"


def figures_text(figures: Mapping[str, Any]) -> str:
    """Quality of a people model, one line a backend and precision; every metric of another one."""
    if not figures or not all("nobody in view" in found for found in figures.values()):
        parts = ["In %. Printed again by `python benchmarks/accuracy.py`."]
        for kind, found in figures.items():
            parts += [f"### {kind}, {found['images']} pictures"]
            parts += accuracy_tables(found)
        return "\n\n".join(parts)
    sets = [name for name in next(iter(figures.values()), {}) if name != "nobody in view"]
    lines = [
        [kind, *(f"{100 * found[s]['person_iou']:.2f}" for s in sets), f"{found['nobody in view']['mean_percent']:.2f}"]
        for kind, found in figures.items()
    ]
    return (
        "Person IoU in %, mean over pictures; last column: % of pixels called person in empty frames.\n"
        "Printed again by `python benchmarks/quality.py`.\n\n"
        + table(["precision and backend", *sets, "nobody in view"], lines)
    )
