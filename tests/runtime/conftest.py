"""What tests of the runtime share: whether there is a real RTSP server."""

from __future__ import annotations

import pytest
from needed import skip_or_fail


@pytest.fixture(scope="session")
def rtsp() -> None:
    """Skips where GStreamer's RTSP server is not installed; fails in CI."""
    from rtsp_server import why_absent

    absent = why_absent()
    if absent:
        skip_or_fail(absent)
