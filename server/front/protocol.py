"""The short way in of a front: where rates are limited, each call carries its client to the engine, which counts."""

from __future__ import annotations

from server.front.inference import ClientCall, FrontInference
from server.http.inference.protocol import PredictionCycle, PredictionProtocol, protocol_for, special_of


class LimitedWay(PredictionProtocol):
    """The short way with the client's address in each call."""

    def _learn(self, data: bytes, cycle: PredictionCycle) -> None:
        """Nothing: a head does not say whose it is."""

    def _start_short(self) -> bool:
        if not super()._start_short():
            return False
        cycle = self._short
        assert cycle is not None
        call = cycle.call
        cycle.call = ClientCall(
            protocol=call.protocol,
            target=call.target,
            content_type=call.content_type,
            content_encoding=call.content_encoding,
            accept_encoding=call.accept_encoding,
            header_length=call.header_length,
            content_length=call.content_length,
            client=self.client[0] if self.client else "",
        )
        return True


def protocol_of(inference: FrontInference, *, limited: bool, cors: bool = False) -> type[PredictionProtocol]:
    """A protocol class for uvicorn's `http` setting; `limited` where the engine limits each client's rate,
    `cors` where other origins may ask."""
    if not limited:
        return protocol_for(inference, None, cors=cors)

    class Bound(LimitedWay):
        pass

    Bound.inference, Bound.rate, Bound.routes, Bound.outbox = inference, None, {}, []
    Bound.special = special_of(cors)
    return Bound
