"""Errors on their way from the engine to a front: the same class, sentence and fields on the other side."""

from __future__ import annotations

from server import errors
from server.errors import LoadError, Overloaded, QuorumLost, RateLimited, ServerError
from server.front.messages import Failure


class EngineFault(Exception):
    """Something in the engine failed that nobody foresaw; its log has the traceback."""


def _tree(root: type[ServerError]) -> dict[str, type[ServerError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= _tree(child)
    return found


KINDS = {name: kind for name, kind in _tree(ServerError).items() if not issubclass(kind, LoadError)}
"""All but LoadError, which no request can meet."""


def failure_of(id: int, error: BaseException, served: int = 0) -> Failure:
    """The error as what travels; one that is no ServerError keeps only its text."""
    kind = type(error).__name__ if isinstance(error, ServerError) else ""
    retry_after_s = error.retry_after_s if isinstance(error, Overloaded | RateLimited) else 0.0
    missing = error.missing if isinstance(error, QuorumLost) else ()
    return Failure(id, kind, str(error) if kind else repr(error), retry_after_s, missing, served)


def error_of(failure: Failure) -> Exception:
    """The error that travelled."""
    kind = KINDS.get(failure.kind)
    if kind is None:
        return EngineFault(f"the engine failed: {failure.message}")
    if issubclass(kind, Overloaded | RateLimited):
        return kind(failure.message, failure.retry_after_s)
    if issubclass(kind, QuorumLost):
        return kind(failure.message, failure.missing)
    return kind(failure.message)
