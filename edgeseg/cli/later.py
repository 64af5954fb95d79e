"""Verbs of the plan that this version does not have: naming them is wrong usage, said as such."""

from __future__ import annotations

VERBS = ("build",)
