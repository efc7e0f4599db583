"""Asking an `Inference` in process: one event loop per question, no sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

from server.http import Call, Inference, Limits, Reply, Target
from tests.server.http.standin import SMALL, Manager, Metrics, all_servables

Way = Literal["task", "nowait"]


def inference(manager: Manager | None = None, limits: Limits = SMALL) -> tuple[Inference, Metrics]:
    """An inference over the stand-ins, and the metrics it reports to."""
    metrics: Any = Metrics()
    standin: Any = manager or Manager(*all_servables())
    return Inference(standin, metrics, limits), metrics


async def ask(asked: Inference, call: Call, body: bytes, way: Way = "task") -> Reply:
    """The reply by either of the two ways in."""
    if way == "task":
        return await asked.answer(call, body)
    delivered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    asked.answer_nowait(call, body, delivered.set_result)
    return await delivered


def answer(body: bytes | object, name: str = "digits", way: Way = "task", **call: Any) -> Reply:
    """One V2 question to a fresh inference; anything but bytes is sent as JSON."""
    return _answer(Call("v2", Target(name), **call), body, way)


def predict(body: bytes | object, name: str = "digits", way: Way = "task", **call: Any) -> Reply:
    """One V1 question to a fresh inference."""
    return _answer(Call("v1", Target(name), **call), body, way)


def _answer(call: Call, body: bytes | object, way: Way) -> Reply:
    asked, _ = inference()
    return asyncio.run(ask(asked, call, body if isinstance(body, bytes) else json.dumps(body).encode(), way))


def tensor(name: str = "image", shape: list[Any] | None = None, datatype: str = "FP32", **rest: Any) -> dict[str, Any]:
    """One entry of `inputs`; by default a valid one for the digits."""
    shape = [1, 8, 8] if shape is None else shape
    return {"name": name, "shape": shape, "datatype": datatype, **(rest or {"data": [0.5] * 64})}
