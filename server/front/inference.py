"""Inference in a front: the same decoding and encoding, with the engine asked before anything is refused."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from server.errors import NotReady, ServerError, Superseded
from server.front.counts import Counts
from server.front.link import EngineLink
from server.front.remote import RemoteServable
from server.http.codec.call import Call
from server.http.codec.errors import Outcome
from server.http.codec.limits import Limits
from server.http.codec.reply import Reply
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature
from server.http.inference.exchange import Exchange
from server.http.inference.inference import ATTEMPTS, Inference

if TYPE_CHECKING:
    from server.metrics import Metrics
    from server.serving.manager import Manager
    from server.serving.servable import Servable


class Doubt(Superseded):
    """A request does not fit the version that this front last heard of; `error` says how."""

    def __init__(self, signature: Signature, error: ServerError) -> None:
        super().__init__(f"'{signature.ensemble}' version {signature.version}: not confirmed yet")
        self.signature = signature
        self.error = error


@dataclass(slots=True)
class ClientCall(Call):
    """A call with its client's address, where requests are limited by that."""

    client: str = ""


class FrontInference(Inference):
    """Answers prediction requests with what the engine computes. Event-loop thread only, as its parent."""

    def __init__(self, link: EngineLink, counts: Counts, limits: Limits, executor: Executor | None = None) -> None:
        super().__init__(cast("Manager", link), cast("Metrics", counts), limits, executor)
        self._link = link

    async def _predict(self, exchange: Exchange) -> tuple[Reply, Outcome]:
        call = exchange.call
        target = call.target
        route = target.name, target.version, target.label
        client = call.client if isinstance(call, ClientCall) else ""
        for _ in range(ATTEMPTS):
            try:
                self._link.route(*route)
            except Superseded:
                await self._link.learn(route, client)
            try:
                return await super()._predict(exchange)
            except Doubt as doubt:
                exchange.ensemble = exchange.version = ""
                now = await self._link.learn(route, client, refusing=True)
                exchange.ensemble, exchange.version = now.name, str(now.version)
                if now.manifest is doubt.signature.manifest:
                    raise doubt.error from None
            except Superseded:
                continue
        raise NotReady(f"ensemble '{target.name}' changes faster than requests can be decoded")

    def _route(self, exchange: Exchange) -> tuple[Servable, Signature]:
        servable, signature = super()._route(exchange)
        if isinstance(exchange.call, ClientCall):
            servable = cast("Servable", cast(RemoteServable, servable).asked_by(exchange.call.client))
        return servable, signature

    def _count(self, exchange: Exchange, outcome: Outcome) -> None:
        if outcome == "rate_limited":
            exchange.ensemble = exchange.version = ""  # as where it is refused before its ensemble is looked for
        super()._count(exchange, outcome)

    def _decode_now(self, call: Call, body: bytes, signature: Signature) -> InferRequest:
        try:
            return super()._decode_now(call, body, signature)
        except ServerError as error:
            raise Doubt(signature, error) from error

    def landed(self, exchange: Exchange) -> None:
        """As the parent; where another version serves by now, the request is decoded anew for that."""
        if isinstance(exchange.exception(), Superseded):
            self._in_task(exchange)
            return
        super().landed(exchange)
