"""README's figures: each section between its marks, from the JSON of the benchmarks."""

from __future__ import annotations

import re

from texts import load, machine_line, table


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


def rates() -> str:
    """Frames a second of each model."""
    body = load("model_rates")
    rows = [
        [
            row["model"],
            "x".join(str(side) for side in row["input"]) + (", tiles" if row["tiled"] else ""),
            f"{row['backend']} {row['precision']}",
            f"{row['frames_per_second']:.1f}",
        ]
        for row in body.get("rows", [])
    ]
    header = ["model", "input", "what `auto` takes", "frames/s"]
    return f"{machine_line(body)}:\n\n{table(header, rows)}" if rows else ""


SECTIONS = {"quality": quality, "speed": speed, "pipeline": pipeline, "rates": rates}


def fill(text: str) -> str:
    """README with each `<!-- generated: NAME -->` section written anew."""
    for name, make in SECTIONS.items():
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.S)
        body = make()
        text = pattern.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    return text
