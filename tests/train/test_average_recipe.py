"""The mean of checkpoints: floats averaged, counts and scales of the last, other networks refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

SCRIPT = Path(__file__).resolve().parents[2] / "recipes" / "average.py"


def write(path: Path, value: float, steps: int, width: int = 3) -> Path:
    tensors = {"weight": torch.full((width,), value), "seen": torch.tensor(steps)}
    torch.save({"network": tensors, "ema": dict(tensors), "step": steps}, path)
    return path


def run(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, paths)], capture_output=True, text=True, check=False)


@pytest.mark.checkout
def test_the_mean_of_checkpoints(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.pt", 1.0, 5), write(tmp_path / "b.pt", 4.0, 7)
    out = tmp_path / "runs" / "mean.pt"
    done = run(out, one, two)
    assert done.returncode == 0, done.stderr
    made = torch.load(out, weights_only=True)
    assert made["step"] == 7
    for part in ("network", "ema"):
        assert made[part]["weight"].tolist() == [2.5, 2.5, 2.5]
        assert int(made[part]["seen"]) == 7
    assert [path.name for path in out.parent.iterdir()] == ["mean.pt"]
    other = write(tmp_path / "c.pt", 1.0, 5, width=4)
    assert run(tmp_path / "no.pt", one, other).returncode == 4
    assert run(one, one, two).returncode == 2
    assert not (tmp_path / "no.pt").exists()
