"""What tests of the runtime share: whether there is a real RTSP server."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def rtsp() -> None:
    """Skips where GStreamer's RTSP server is not installed; fails in CI."""
    from rtsp_server import why_absent

    absent = why_absent()
    if absent:
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
