"""Writes every figure that people read, in README and the models' cards, from the JSON that the benchmarks left.

    python benchmarks/report.py            rewrite README.md, architectures.md, accuracy.md and the zoo's cards
    python benchmarks/report.py --check    exit code 1 where they say something else than the JSON (a test runs this)

Which command wrote a JSON file stands in it under `command`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
ZOO = ROOT / "edgeseg" / "zoo"
# Model -> recipe whose `.about.yaml` and training log it shares.
MODELS = {"person": "person", "person-landscape": "person"}


def load(name: str) -> dict[str, Any]:
    """A result file; {} where it was not made yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine_line(body: Mapping[str, Any]) -> str:
    """The machine in words, for the line above a table."""
    machine = body.get("machine", {})
    cpu = machine.get("cpu", {})
    name = cpu.get("model", cpu) if isinstance(cpu, Mapping) else cpu
    return f"{name}, {len(body['cores_used'])} cores" if "cores_used" in body else str(name)


def quality() -> str:
    """Quality of each model, precision and backend beside MediaPipe."""
    body = load("quality")
    if not body:
        return ""
    sets = [name for name in body["rows"][0]["figures"] if name != "nobody in view"]
    rows = []
    for row in body["rows"]:
        figures, empty = row["figures"], row["figures"]["nobody in view"]
        label = (
            row["model"]
            if row["model"].startswith("mediapipe")
            else f"{row['model']}, {row['precision']}, {row['backend']}"
        )
        cells = [f"{100 * figures[name]['person_iou']:.1f}" for name in sets]
        rows.append([label, *cells, f"{empty['mean_percent']:.2f} / {empty['max_percent']:.2f}"])
    return table(["person IoU in %, mean over pictures", *sets, "nobody in view: % of pixels, mean / worst"], rows)


def speed() -> str:
    """Times and ratios against MediaPipe."""
    body = load("vs_mediapipe")
    rows = []
    for network, found in body.get("compared", {}).items():
        for name, times in found["milliseconds"].items():
            ratio = found["times_as_fast_as_mediapipe"].get(name)
            label = f"MediaPipe {network}" if name == "mediapipe rgb" else f"{found['model']}, {name}"
            if name == "mediapipe bgr":
                continue
            if name == "auto":
                label = f"**{label}** ({found['edgeseg']['auto']})"
            shown = (
                f"{ratio['median']:.2f} ({ratio['quartile_low']:.2f} to {ratio['quartile_high']:.2f})" if ratio else "1"
            )
            rows.append([label, f"{times['p50_ms']:.1f}", f"{times['p95_ms']:.1f}", shown])
    if not rows:
        return ""
    header = ["1280x720 frame in, full-size mask out", "p50 ms", "p95 ms", "times as fast as MediaPipe (quartiles)"]
    return f"{machine_line(body)}; {body['frames']}.\n\n{table(header, rows)}"


def pipeline() -> str:
    """What the pipeline costs, how fresh it stays, how fast it starts."""
    cost, start = load("pipeline_cost"), load("startup")
    lines = [f"- {text}" for text in cost.get("summary", [])]
    if start:
        seconds = start["seconds"]
        lines.append(
            f"- `import edgeseg` adds {seconds['import_adds_s']['median']:.3f} s to `import numpy`; first mask "
            f"{seconds['first_mask_cached_s']['median']:.2f} s after the start of the process (while `auto` measures: "
            f"{seconds['first_mask_cold_s']['median']:.2f} s)."
        )
    return "\n".join(lines)


SECTIONS = {"quality": quality, "speed": speed, "pipeline": pipeline}


def fill(text: str) -> str:
    """README with each `<!-- generated: NAME -->` section written anew."""
    for name, make in SECTIONS.items():
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.S)
        body = make()
        text = pattern.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    return text


def card(name: str) -> dict[str, Any]:
    """Everything a card holds: static text, files with hashes, origin from the manifest, figures from quality.json."""
    import onnx

    from edgeseg.manifest import METADATA_KEY, Manifest

    about = yaml.safe_load((ROOT / "recipes" / f"{MODELS[name]}.about.yaml").read_text(encoding="utf-8"))
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
    rows = [row for row in load("quality").get("rows", []) if row["model"] == name]
    figures = {f"{row['precision']} {row['backend']}": row["figures"] for row in rows}
    return {
        "name": name,
        "description": about["description"],
        "terms": " ".join(about["terms"].split()),
        "input": f"{manifest.height}x{manifest.width}, {manifest.fit}, uint8 BGR",
        "classes": list(manifest.class_names),
        "recipe": f"recipes/{MODELS[name]}.yaml",
        "intended_use": " ".join(about["intended_use"].split()),
        "limits": " ".join(about["limits"].split()),
        "data": about["data"],
        "files": files,
        "origin": origin,
        "figures": figures,
    }


def card_text(body: Mapping[str, Any]) -> str:
    """The card for people."""
    files = [
        [f"`{f['file']}`", precision, f"{f['bytes'] / 1e6:.2f}", f"`{f['sha256'][:16]}…`"]
        for precision, f in body["files"].items()
    ]
    data = [[d["name"], d["part"], d["source"], d["terms"]] for d in body["data"]]
    sets = [s for s in next(iter(body["figures"].values()), {}) if s != "nobody in view"]
    figures = [
        [kind, *(f"{100 * found[s]['person_iou']:.2f}" for s in sets), f"{found['nobody in view']['mean_percent']:.2f}"]
        for kind, found in body["figures"].items()
    ]
    parts = [
        f"# {body['name']}\n\n{body['description']}",
        f"**Terms.** {body['terms']}",
        f"**Input.** {body['input']}. **Classes.** {', '.join(body['classes'])}.",
        f"**Recipe.** `{body['recipe']}`; log: `training.jsonl`.",
        f"**Intended use.** {body['intended_use']}",
        f"**Limits.** {body['limits']}",
        "## Files\n\n" + table(["file", "precision", "MB", "sha256"], files),
        "## Figures\n\nPerson IoU in %, mean over pictures; last column: % of pixels called person in empty frames.\n"
        "Printed again by `python benchmarks/quality.py`.\n\n"
        + table(["precision and backend", *sets, "nobody in view"], figures),
        "## Training data\n\n" + table(["set", "part", "source", "terms"], data),
    ]
    return "\n\n".join(parts) + "\n"


def architectures() -> str:
    """Size and work of every network."""
    rows = [
        [
            row["network"],
            "x".join(str(n) for n in row["input"]),
            "x".join(str(n) for n in row["output"]),
            f"{row['parameters'] / 1e6:.2f}",
            f"{row['multiply_accumulates'] / 1e9:.2f}",
        ]
        for row in load("architectures").get("rows", [])
    ]
    header = ["network (encoder)", "input", "logits or masks", "parameters, millions", "multiply-accumulates, 10^9"]
    return (
        "# Networks\n\nOne picture each; counted by `python benchmarks/architectures.py`, written by "
        f"`python benchmarks/report.py`.\n\n{table(header, rows)}\n"
    )


def accuracy() -> str:
    """Every metric of every shipped model, beside what others published."""
    rows = load("accuracy").get("rows", [])
    listed = yaml.safe_load((HERE / "accuracy.yaml").read_text(encoding="utf-8"))
    parts = [
        "# Accuracy of the shipped models",
        "In %, at each picture's own size, on splits that nothing was trained or selected on; pixels of all pictures "
        "together unless said otherwise. Measured by `python benchmarks/accuracy.py`, written by "
        "`python benchmarks/report.py`.",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        parts.append(f"## {model}")
        for row in rows:
            if row["model"] == model:
                figures = row["figures"]
                images = f"{figures['data']} {figures['split']}, {figures['images']} pictures"
                parts.append(f"### {images}: {row['precision']}, {row['backend']}")
                parts += accuracy_tables(figures)
    published = [[item["set"], item["what"], item["note"], item["source"]] for item in listed["published"]]
    parts += ["## Published by others", table(["set", "figure", "note", "source"], published)]
    return "\n\n".join(parts) + "\n"


def accuracy_tables(figures: Mapping[str, Any]) -> list[str]:
    """The figures of one split: those of all classes together, then those of each class."""
    single = {key: value for key, value in figures.items() if isinstance(value, float)}
    each = {key: value for key, value in figures.items() if isinstance(value, Mapping)}
    made = [
        table(["all together", "%"], [[key.replace("_", " "), f"{100 * value:.2f}"] for key, value in single.items()])
    ]
    if each:
        classes = next(iter(each.values()))
        lines = [
            [name, *("–" if found[name] is None else f"{100 * found[name]:.2f}" for found in each.values())]
            for name in classes
        ]
        made.append(table(["class", *(key.replace("_", " ") for key in each)], lines))
    return made


def outputs() -> dict[Path, str]:
    """Each file that is written here, with its text."""
    readme = ROOT / "README.md"
    written = {readme: fill(readme.read_text(encoding="utf-8")), ROOT / "docs" / "architectures.md": architectures()}
    if load("accuracy"):
        written[HERE / "accuracy.md"] = accuracy()
    for name in MODELS:
        if (ZOO / name / "model.onnx").is_file():
            body = card(name)
            written[ZOO / name / "card.json"] = json.dumps(body, indent=2) + "\n"
            written[ZOO / name / "card.md"] = card_text(body)
    return written


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where something differs")
    check = parser.parse_args().check
    stale = []
    for path, text in outputs().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'differs from the JSON' if check else 'written'}: {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
