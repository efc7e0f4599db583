"""Every error of the comparison; a LoadtestError each, so that one handler prints them all.

PeerError                     base: a comparison that cannot be made
├── PeerEnvironmentError      a peer's virtual environment is missing or could not be made
├── GeneratorError            wrk is missing, or what it printed is not what was asked for
├── PeerServerError           a server did not start, died, or ended early
└── WrongAnswerError          a server answers, but not with the ensemble's probabilities
"""

from __future__ import annotations

from loadtest.errors import LoadtestError


class PeerError(LoadtestError):
    """Base of everything that a comparison raises on purpose; the message is one line."""


class PeerEnvironmentError(PeerError):
    """A virtual environment is missing or could not be made; the message names the peer and the log."""


class GeneratorError(PeerError):
    """wrk is missing, failed, or printed something else than its figures."""


class PeerServerError(PeerError):
    """A server did not come up or ended early; the message holds the last lines of its log."""


class WrongAnswerError(PeerError):
    """A server's answer is not the ensemble's; the message says by how much."""
