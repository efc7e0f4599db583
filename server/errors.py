"""Every error of the server; `server.http.codec.errors` maps each to a status, nothing here knows HTTP.

ServerError
├── RequestError                 the client's doing
│   ├── MalformedRequest         the body or a header cannot be read
│   ├── UnsupportedMedia         a content type or encoding that this path does not take
│   ├── TooLarge                 body, rows or elements above a limit
│   ├── InvalidTensor            well-formed, but not what the ensemble's inputs are
│   ├── RateLimited              this client is over its share
│   └── Forbidden                a control path without a valid token
├── UnknownEnsemble, UnknownVersion
├── NotReady                     known, but not serving (yet)
│   └── Superseded               this servable is draining: route again
├── Overloaded                   the queue is full; carries when to come back
├── DeadlineExceeded             no answer by the request's deadline
├── QuorumLost                   fewer members answered than the quorum, or a required one did not
│   └── ExtraFailed              an extra that the request asked for gave nothing
└── LoadError                    a version may not serve; carries a reason code for index, log and metric
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

LoadReason = Literal["manifest", "integrity", "memory", "session", "provider", "tokenizer", "signature", "golden"]


class ServerError(Exception):
    """Base of every error that the server raises on purpose."""


class RequestError(ServerError):
    """The request is at fault; the message names the field, what was given and what was expected."""


class MalformedRequest(RequestError):
    """The body or a header cannot be read as what it says it is."""


class UnsupportedMedia(RequestError):
    """A content type or content encoding that this path does not take."""


class TooLarge(RequestError):
    """Body, rows or elements exceed a limit."""


class InvalidTensor(RequestError):
    """A tensor's name, datatype or shape is not what the ensemble declares."""


class RateLimited(RequestError):
    """The client sent more than its share; `retry_after_s` in seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Forbidden(RequestError):
    """A control path was called without a valid token."""


class UnknownEnsemble(ServerError):
    """No ensemble of this name is in the repository."""


class UnknownVersion(ServerError):
    """The ensemble exists, but this version or label is not served; the message lists those that are."""


class NotReady(ServerError):
    """The ensemble is known but nothing of it can answer now; the message says why."""


class Overloaded(ServerError):
    """The queue is full; `retry_after_s` in seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(ServerError):
    """The request's deadline passed before its rows were computed."""


class QuorumLost(ServerError):
    """Too few members answered; `missing` names those that did not."""

    def __init__(self, message: str, missing: Sequence[str]) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class ExtraFailed(QuorumLost):
    """An extra that the request names in its outputs gave nothing; `missing` names it. Others are not concerned."""


class LoadError(ServerError):
    """A version is refused; `reason` is its class, the message the sentence for people."""

    def __init__(self, reason: LoadReason, message: str) -> None:
        super().__init__(message)
        self.reason: LoadReason = reason


class Superseded(NotReady):
    """The servable stopped taking rows between routing and submission; route again and submit there."""
