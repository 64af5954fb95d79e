"""`edgeseg run --web` as users call it: what is printed can be opened, shows every source, and ends with the run."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edgeseg.cli.main import main

TOKEN = "a-token-of-the-tests"


async def look(url: str) -> tuple[int, dict[str, Any], bytes]:
    """The status of the page without a token; with it, the hello and the first picture of the second source."""
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            status = answer.status
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.ws_connect(f"{url}live", headers=headers) as live:
            hello = (await live.receive_json())["hello"]
            view = {"camera": 1, "overlay": True, "strength": 45, "classes": ["person"]}
            await live.send_json({"view": view})
            while True:
                message = await live.receive(timeout=60)
                if message.type == aiohttp.WSMsgType.BINARY:
                    await live.send_json({"seen": 1})
                    if message.data[0] == 1:
                        return status, hello, message.data


def test_two_cameras_on_a_page_with_a_token(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_WEB_TOKEN", TOKEN)
    stats = tmp_path / "stats.json"
    command = [sys.executable, "-m", "edgeseg", "run", "synthetic:64x48@30", "synthetic:80x40@30", "--web", "0"]
    command += ["--model", str(tiny_model), "--backend", "onnxruntime", "--stats", str(stats)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("web page at "))
            status, hello, picture = asyncio.run(look(line.split()[-1]))
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    assert status == 401 and TOKEN not in line + out
    assert [camera["name"] for camera in hello["cameras"]] == ["synthetic:64x48@30", "synthetic:80x40@30"]
    assert [info["name"] for info in hello["classes"]] == ["person"]
    assert picture[12:14] == b"\xff\xd8", "a JPEG behind the head"
    report = json.loads(stats.read_text())
    assert [output["output"] for output in report["outputs"]] == ["web page", "web page"]
    assert all(output["written"] > 0 and output["error"] is None for output in report["outputs"])


def test_what_is_printed_lets_in_where_others_could_come(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "synthetic:16x16", "--max-frames", "2", "--model", str(tiny_model), "--backend", "onnxruntime"]
    assert main([*words, "--web", "0.0.0.0:0"]) == 0
    out, err = capsys.readouterr()
    assert out.count("?token=") == 1 and "2 in, 2 out" in out and err == ""


def test_a_token_that_is_too_short(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EDGESEG_WEB_TOKEN", "secret")
    assert main(["run", "demo", "--web"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: the web page's token is no good: 6 characters.") and "secret" not in err
