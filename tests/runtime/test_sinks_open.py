"""`open_sinks`: the outputs that are asked for, all or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.errors import OutputError
from edgeseg.runtime.sinks import JsonLines, Masks, Video, open_sinks


def test_what_is_asked_for_is_opened(tmp_path: Path) -> None:
    assert open_sinks() == []
    sinks = open_sinks(save=tmp_path / "o.mp4", masks=tmp_path / "m", jsonl=tmp_path / "o.jsonl", fps=25.0, live=True)
    assert [type(sink) for sink in sinks] == [JsonLines, Masks, Video]
    for sink in sinks:
        sink.close()


def test_one_that_fails_closes_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[JsonLines] = []
    really_close = JsonLines.close

    def close(sink: JsonLines) -> None:
        closed.append(sink)
        really_close(sink)

    monkeypatch.setattr(JsonLines, "close", close)
    with pytest.raises(OutputError, match="no folder"):
        open_sinks(save=tmp_path / "missing" / "o.mp4", jsonl=tmp_path / "o.jsonl")
    assert len(closed) == 1


def test_a_window_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match="cannot open a window"):
        open_sinks(show=True)
