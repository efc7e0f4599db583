"""Execution of ensembles: sessions, plans, fusion. Synchronous and thread-safe; no asyncio, no HTTP, no queues."""

from server.runtime.datatypes import Array, Feeds
from server.runtime.ensemble import LoadedEnsemble
from server.runtime.options import Layout, RuntimeOptions
from server.runtime.prediction import FUSION, MemberFailure, OutputSpec, Prediction
from server.runtime.sessions.pool import SessionPool

__all__ = [
    "FUSION",
    "Array",
    "Feeds",
    "Layout",
    "LoadedEnsemble",
    "MemberFailure",
    "OutputSpec",
    "Prediction",
    "RuntimeOptions",
    "SessionPool",
]
