"""Wrong usage is one line, names what was given and what is known, and ends with exit code 2."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.cli.arguments import size
from edgeseg.cli.main import VERBS, main, parse
from edgeseg.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]

WRONG = {
    "no verb": ([], "no verb"),
    "unknown verb": (["rum", "demo"], "Did you mean 'run'?"),
    "no source": (["run"], "SOURCE"),
    "unknown option": (["run", "demo", "--polcy", "all"], "Did you mean '--policy'?"),
    "abbreviated option": (["run", "demo", "--thresh", "0.5"], "Did you mean '--threshold'?"),
    "option without value": (["run", "demo", "--save"], "--save"),
    "unknown policy": (["run", "demo", "--policy", "newset"], "Did you mean 'newest'?"),
    "threshold above 1": (["run", "demo", "--threshold", "1.5"], "1.5"),
    "threshold no number": (["run", "demo", "--threshold", "half"], "half"),
    "threshold not a number": (["run", "demo", "--threshold", "nan"], "nan"),
    "no frames": (["run", "demo", "--max-frames", "0"], "0"),
    "endless wait": (["run", "demo", "--open-timeout-s", "inf"], "inf"),
    "unknown precision": (["run", "demo", "--precision", "int4"], "int4"),
    "smoothing": (["run", "demo", "--smooth", "kalman"], "kalman"),
    "smoothing strength": (["run", "demo", "--smooth", "uncertainty:2"], "2"),
    "no classes": (["run", "demo", "--classes", ","], "','"),
    "web page": (["run", "--web", "demo"], "SOURCE"),
    "no address of a web page": (["run", "demo", "--web", "8000:"], "HOST:PORT"),
    "unknown model": (["run", "synthetic:64x64", "--model", "persn", "--max-frames", "1"], "persn"),
    "drop without data": (["quantize", "m.onnx", "--ranges", "r", "-o", "o", "--max-drop", "1"], "--data"),
    "bad size": (["export", "person", "-o", "x.onnx", "--size", "256"], "256"),
    "one too many": (["models", "person"], "person"),
}


@pytest.mark.parametrize("words, told", WRONG.values(), ids=WRONG.keys())
def test_wrong_usage(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(words)
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"edgeseg {verb}" in text.partition("Example")[2]


def test_help_lists_the_verbs_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from edgeseg.cli.main import main; main(['--help']);"
        "heavy = {'cv2', 'torch', 'onnx', 'onnxruntime', 'openvino', 'av'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    words = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")}
    assert set(VERBS) <= words


def test_the_module_and_the_version() -> None:
    import edgeseg

    done = subprocess.run([sys.executable, "-m", "edgeseg", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"edgeseg {edgeseg.__version__}\n"


@pytest.mark.parametrize("text", ["0x5", "5", "5x", "x5", "-5x5", "5.0x5", "axb"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        size(text)


def test_a_size_is_height_first() -> None:
    assert size("144x256") == (144, 256)


def test_changes_of_a_recipe_may_stand_anywhere() -> None:
    args = parse(["train", "recipe.yaml", "a=1", "--data", "x", "b=2", "--out", "y", "c=3"])
    assert (str(args.recipe), args.changes) == ("recipe.yaml", ["a=1", "b=2", "c=3"])
    with pytest.raises(UsageError, match="too many: more"):
        parse(["train", "recipe.yaml", "--data", "x", "more"])


@pytest.mark.checkout
def test_commands_in_texts_are_read() -> None:
    named = (ROOT / "README.md", ROOT / "docs" / "jetson.md", *sorted((ROOT / "recipes").glob("*.yaml")))
    texts = [path for path in named if path.is_file()]
    if not texts:
        pytest.skip("README and recipes are not here: these tests run from an installed package")
    # A command may go on in the next line, behind a backslash.
    whole = [re.sub(r"\\\n#? *", "", path.read_text(encoding="utf-8")) for path in texts]
    lines = [line for text in whole for line in text.splitlines()]
    commands = [
        line.lstrip("# ").partition("  ")[0] for line in lines if line.startswith(("    edgeseg ", "#   edgeseg "))
    ]
    assert len(commands) > 6
    for command in commands:
        assert parse(shlex.split(command)[1:]).verb in VERBS
