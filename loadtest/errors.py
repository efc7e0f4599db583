"""Every error of the load generator.

LoadtestError
├── ScenarioError     the options do not fit together
├── TargetError       the server cannot be reached, or is not what can be loaded
└── SwapError         a new version could not be published during the run
"""

from __future__ import annotations


class LoadtestError(Exception):
    """Base of everything that a load test raises on purpose; the message is one line."""


class ScenarioError(LoadtestError):
    """The options contradict each other; the message names them."""


class TargetError(LoadtestError):
    """The server does not answer, or offers nothing that can be loaded; the message names the URL."""


class SwapError(LoadtestError):
    """Publishing the next version failed; the message says what the repository or the command said."""
