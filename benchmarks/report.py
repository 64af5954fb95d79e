"""Writes every figure that people read, in README and the models' cards, from the JSON that the benchmarks left.

    python benchmarks/report.py            rewrite README.md, docs/, accuracy.md and the zoo's cards
    python benchmarks/report.py --check    exit code 1 where they say something else than the JSON (a test runs this)

Which command wrote a JSON file stands in it under `command`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from cards import ROOT, ZOO, card, card_text, shipped
from common import HERE
from int8_text import int8_page
from readme_text import fill
from streams_text import streams_page
from texts import accuracy_tables, load, machine_line, table


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


def engines() -> str:
    """Size and build time of every engine that can be built without a GPU."""
    body = load("engines")
    rows = [
        [
            row["model"],
            row["precision"],
            f"{row['onnx_bytes'] / 1e6:.2f}",
            f"{row['bytes'] / 1e6:.2f}",
            str(row["layers"]),
            f"{row['build_seconds']:.1f}",
        ]
        for row in body["rows"]
    ]
    first = body["rows"][0]
    made = f"{first['library']} {first['version']}, for compute capability {first['compute_capability']}"
    header = ["model", "precision", "ONNX file, MB", "engine, MB", "layers", "built in, s"]
    return (
        f"# Engines\n\nBuilt without a GPU by {made}, on {machine_line(body)}, {body['machine']['cores']} cores: "
        "`python benchmarks/engines.py`, written by `python benchmarks/report.py`. One of your own: "
        "`edgeseg build model.onnx -o model.engine --backend tensorrt-rtx`. How fast they run is not known: no GPU has "
        "run them yet."
        f"\n\n{table(header, rows)}\n"
    )


def reliability() -> str:
    """What was done to a run and what came of it, and a long run's memory."""
    body, long_run = load("reliability"), load("soak")
    parts = ["# Reliability"]
    if body:
        rows = [[row["fault"], row["happened"], _times(row)] for row in body["rows"]]
        parts += [
            f"Each fault done for real, on {machine_line(body)}, {body['runs']}: `python benchmarks/reliability.py`, "
            "written by `python benchmarks/report.py`. The tests do the same (`tests/runtime/test_faults.py`).",
            table(["fault", "what happened", "how long it took"], rows).replace("---:", "---"),
        ]
    if long_run:
        parts += [
            "## A long run",
            "`python benchmarks/soak.py`, watched from outside while it ran:",
            "\n".join(f"- {run['summary']}" for run in long_run["runs"].values()),
            soaked(long_run["runs"]),
            "The video is Matroska (`--save OUT.mkv`), which is what to record for days into: the index of an MP4 has "
            "a row for every frame and stays in memory until the end.",
        ]
    return "\n\n".join(parts) + "\n"


def soaked(runs: Mapping[str, Any]) -> str:
    """Why the long runs have the outputs that they have."""
    both = ", ".join(sorted(set.intersection(*(set(run["outputs"]) for run in runs.values()))))
    return (
        "Pictures (`--save`) and masks (`--masks`) have one place each in a run, so the outputs are shared out between "
        f"runs (in each of them: {both}). The window is in none, as it wants a screen and somebody before it, nor is "
        "the virtual camera, which wants a kernel module that few machines have."
    )


def _times(row: Mapping[str, Any]) -> str:
    limits = row["limits_s"]
    return "; ".join(
        f"{what}: {seconds:.2f} s" + (f" (at most {limits[what]:g})" if what in limits else "")
        for what, seconds in row["seconds"].items()
    )


def smoothing() -> str:
    """How much steadier each way of smoothing makes masks, and what it costs."""
    body = load("temporal")
    names = list(body["rows"]["off"])
    # Older files have no video consistency.
    consistent = all("vc8" in each for figures in body["rows"].values() for each in figures.values())
    keys = ("flicker, % less", "IoU, points", *(["VC8 and VC16, %"] if consistent else []))
    header = ["`--smooth`", *(f"{name}: {key}" for name in names for key in keys)]
    rows = []
    for method, figures in body["rows"].items():
        label = f"**steady** ({method})" if method == body["steady"] else method
        rows.append([label])
        for each in figures.values():
            rows[-1] += [f"{each['less_flicker_percent']:.1f}", f"{100 * each['iou_change']:+.2f}"]
            if consistent:
                rows[-1].append(f"{100 * each['vc8']:.1f}, {100 * each['vc16']:.1f}")
    moved = ", ".join(f"{percent:.0f} % on {name}" for name, percent in body["flicker_of_motion_percent"].items())
    off = ", ".join(
        f"{each['flicker_percent']:.2f} % and {100 * each['iou']:.1f} % on {name}"
        for name, each in body["rows"]["off"].items()
    )
    choice, cuts = body["choice"], body["cuts"]
    best = choice["best"]
    measured = (
        f"{body['model']}, {body['precision']}, {body['backend']}. Flicker and IoU without smoothing: {off}. Masks "
        f"that do nothing but move with the picture would flicker, too: {moved} of what is seen. The strength and the "
        f"numbers of hold were chosen on {choice['chosen_on']} alone ({best['strength']:g}, "
        f"{' and '.join(f'{number:g}' for number in best['hold'])}). {choice['note']} Pictures of neighbouring frames "
        f"differ by at most {cuts['most_within']:.1f} of 255, those of different scenes by at least "
        f"{cuts['least_across']:.1f}; above {cuts['limit']:g} smoothing starts afresh."
    )
    if consistent:
        measured += (
            " VC8 and VC16 (video consistency, Miao et al. 2021): of the pixels whose true label stays the same for 8 "
            "or 16 frames, the share whose label is right in all of them; mean over all such runs of frames."
        )
    text = (HERE / "temporal.md").read_text(encoding="utf-8")
    return text.replace("<!-- measured -->", f"{measured}\n\n{table(header, rows)}")


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
        if model in listed["files"]:
            parts.append(f"Does not ship: `{listed['files'][model]}`.")
        for row in rows:
            if row["model"] == model:
                figures = row["figures"]
                images = f"{figures['data']} {figures['split']}, {figures['images']} pictures"
                parts.append(f"### {images}: {row['precision']}, {row['backend']}")
                parts += accuracy_tables(figures)
    published = [[item["set"], item["what"], item.get("note", ""), item["source"]] for item in listed["published"]]
    parts += ["## Published by others", table(["set", "figure", "note", "source"], published)]
    return "\n\n".join(parts) + "\n"


def outputs() -> dict[Path, str]:
    """Each file that is written here, with its text."""
    readme = ROOT / "README.md"
    written = {readme: fill(readme.read_text(encoding="utf-8")), ROOT / "docs" / "architectures.md": architectures()}
    if load("engines"):
        written[ROOT / "docs" / "engines.md"] = engines()
    if load("reliability") or load("soak"):
        written[ROOT / "docs" / "reliability.md"] = reliability()
    if load("streams") or load("local_consumers"):
        page = streams_page(machine_line(load("streams")), machine_line(load("local_consumers")))
        written[ROOT / "docs" / "streams.md"] = page
    if load("temporal"):
        written[ROOT / "docs" / "temporal.md"] = smoothing()
    if load("int8_costs") or load("layer_times"):
        written[ROOT / "docs" / "int8.md"] = int8_page(machine_line(load("vs_mediapipe")))
    if load("accuracy"):
        written[HERE / "accuracy.md"] = accuracy()
    for name, about in shipped().items():
        body = card(name, about)
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
