"""How fast a model runs here: `run_bench` measures, `check_requirements` holds the figures against limits."""

from __future__ import annotations

from edgeseg.bench.limits import check_requirements, parse_requirements
from edgeseg.bench.report import BenchReport, PairReport, SpanReport
from edgeseg.bench.runner import run_bench
from edgeseg.bench.timing import Plan

__all__ = [
    "BenchReport",
    "PairReport",
    "Plan",
    "SpanReport",
    "check_requirements",
    "parse_requirements",
    "run_bench",
]
