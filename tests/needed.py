"""What tests do without something that a developer's machine may lack and CI has to have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(why: str) -> NoReturn:
    """Skip the test; fail it in CI, where nothing may be left out unseen."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
