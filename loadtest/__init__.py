"""A load generator for Open Inference Protocol servers; black box over HTTP.

`plan(Options(...))` says what will be done, `run(plan)` does it, `build(run)` makes the report.
"""

from loadtest.errors import LoadtestError, ScenarioError, SwapError, TargetError
from loadtest.load.runner import Run, run
from loadtest.load.scenarios import Options, Plan, plan
from loadtest.reporting.report import Report, build

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
