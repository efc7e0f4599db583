"""A load generator for Open Inference Protocol servers; black box over HTTP.

`plan(Options(...))` says what will be done, `run(plan)` does it, `build(run)` makes the report.
"""

from loadtest.errors import LoadtestError, ScenarioError, SwapError, TargetError
from loadtest.report import Report, build
from loadtest.runner import Run, run
from loadtest.scenarios import Options, Plan, plan

__all__ = [
    "LoadtestError",
    "Options",
    "Plan",
    "Report",
    "Run",
    "ScenarioError",
    "SwapError",
    "TargetError",
    "build",
    "plan",
    "run",
]
