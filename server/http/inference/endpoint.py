"""The prediction routes as raw ASGI, mounted in front of Litestar's own request handling.

Litestar routes the request, lists it in the OpenAPI document and answers other methods; the rest of what it does
for a handler costs more than a small ensemble takes to compute (docs/decisions), so it is stepped over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from server.errors import MalformedRequest, ServerError, TooLarge
from server.http.codec.call import Call, Protocol, Target, call_of, target_in, without_verb
from server.http.codec.errors import BodyTimeout, ClientGone
from server.http.codec.reply import Reply
from server.http.inference.access_log import client_of
from server.http.inference.body import drain, read_body
from server.http.inference.inference import Inference
from server.http.inference.rate_limit import RateLimit

WATCH_AFTER_S = 0.05
"""A request that waits this long is watched for its client leaving; sooner it is not worth a task."""
LINGER_S = 5.0
"""How long the rest of a refused body is read and dropped, so that the client gets to read the refusal."""

Read = Callable[[HTTPScope], Target]


def v2_target(scope: HTTPScope) -> Target:
    """The target in `/v2/models/{name}[/versions/{version}]/infer`."""
    return target_in(scope["path_params"])


def v1_target(scope: HTTPScope) -> Target:
    """The target in `/v1/models/{name}[/versions/{version}|/labels/{label}]:predict`."""
    parameters = dict(scope["path_params"])
    last = next(key for key in ("label", "version", "name") if key in parameters)
    parameters[last] = without_verb(parameters[last])
    return target_in(parameters)


class Endpoint:
    """Reads a request, has it answered, sends the reply."""

    def __init__(self, inference: Inference, rate: RateLimit | None) -> None:
        self._inference = inference
        self._rate = rate

    def mounted(self, protocol: Protocol, target: Read) -> Callable[..., ASGIApp]:
        """A middleware that answers instead of the handler below it."""

        def instead_of(app: ASGIApp) -> ASGIApp:  # Litestar passes it by this name
            async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
                await self._serve(protocol, target, cast("HTTPScope", scope), receive, send)

            return endpoint

        return instead_of

    async def _serve(self, protocol: Protocol, target: Read, scope: HTTPScope, receive: Receive, send: Send) -> None:
        try:
            if self._rate is not None:
                self._rate.take(client_of(scope))
            call = call_of(protocol, target(scope), scope["headers"])
            body = await read_body(receive, self._inference.limits, call.content_length)
        except ServerError as error:
            await _send_early(self._inference.refuse(error), error, receive, send)
        except ClientGone:
            self._inference.abandoned()
        else:
            answer = await self._answer(call, body, receive)
            if answer is not None:
                await _send(answer, send)

    async def _answer(self, call: Call, body: bytes, receive: Receive) -> Reply | None:
        """The reply, or None where the client left before it was ready; its rows are then not computed."""
        watch = _Watch(receive)
        try:
            return await self._inference.answer(call, body)
        except asyncio.CancelledError:
            if not watch.client_left:
                raise
            watch.forgive()
            return None
        finally:
            watch.close()


class _Watch:
    """Cancels the task it was made in when the client of a long request leaves."""

    def __init__(self, receive: Receive) -> None:
        self.client_left = False
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._waiting = asyncio.current_task()
        self._timer = loop.call_later(WATCH_AFTER_S, self._start)

    def close(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def forgive(self) -> None:
        """The task goes on: its cancellation was this watch's own doing."""
        assert self._waiting is not None
        self._waiting.uncancel()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="watch client")

    async def _run(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        assert self._waiting is not None
        self._waiting.cancel()


async def _send(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.all_headers()})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _send_early(reply: Reply, error: ServerError, receive: Receive, send: Send) -> None:
    """Answer while the body may still be on its way, then let the client finish before the connection closes."""
    if not isinstance(error, TooLarge | BodyTimeout | MalformedRequest):
        await _send(reply, send)
        return
    headers = [*reply.all_headers(), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": True})
    if not isinstance(error, BodyTimeout):
        await drain(receive, LINGER_S)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
