"""The Open Inference Protocol's routes but for infer: health, metadata, configuration, statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from server.http.codec.call import Target, target_in
from server.http.codec.errors import RETRY_AFTER_S, without_paths
from server.http.codec.signature import Signatures
from server.http.metadata import all_servables, model_config, model_metadata, server_metadata, statistics
from server.http.openapi import error_responses
from server.http.response_structs import AllStatistics, Live, ModelConfig, ModelMetadata, Ready, ServerMetadata

if TYPE_CHECKING:
    from server.serving.manager import Manager
    from server.serving.servable import Servable

Asked = Request[Any, Any, Any]

_MODEL = "/v2/models/{name:str}"
_MISSING = error_responses(404, 503)
_VERSION = "/v2/models/{name:str}/versions/{version:str}"


def v2_routes(manager: Manager) -> list[HTTPRouteHandler]:
    """The handlers, bound to `manager`."""
    signatures = Signatures()

    def servable(target: Target) -> Servable:
        return manager.route(target.name, target.version)

    @get("/v2", sync_to_thread=False, tags=["Open Inference Protocol"])
    def server() -> ServerMetadata:
        """Name, release and extensions of the server."""
        return server_metadata()

    @get("/v2/health/live", sync_to_thread=False, tags=["Health"])
    def live() -> Live:
        """200 while the process answers."""
        return Live(live=True)

    @get("/v2/health/ready", sync_to_thread=False, tags=["Health"])
    def ready() -> Response[Ready]:
        """200 while every ensemble that counts has a version that serves; else 503 and why, also during shutdown."""
        problem = manager.unready()
        return _readiness(Ready(ready=not problem, reason=without_paths(problem)))

    @get([f"{_MODEL}/ready", f"{_VERSION}/ready"], sync_to_thread=False, tags=["Health"], responses=_MISSING)
    def model_ready(request: Asked) -> Response[Ready]:
        """200 where the ensemble, or this version of it, answers; 503 where it does not."""
        target = target_in(request.path_params)
        return _readiness(Ready(ready=manager.ensemble_ready(target.name, target.version), name=target.name))

    @get([_MODEL, _VERSION], sync_to_thread=False, tags=["Open Inference Protocol"], responses=_MISSING)
    def metadata(request: Asked) -> ModelMetadata:
        """Versions, inputs, outputs, members and fusion of an ensemble."""
        found = servable(target_in(request.path_params))
        return model_metadata(found, signatures.of(found), manager)

    @get(
        [f"{_MODEL}/config", f"{_VERSION}/config"], sync_to_thread=False, tags=["Triton extensions"], responses=_MISSING
    )
    def config(request: Asked) -> ModelConfig:
        """The ensemble in the terms of Triton's model configuration."""
        found = servable(target_in(request.path_params))
        return model_config(found, signatures.of(found), manager)

    @get([f"{_MODEL}/stats", f"{_VERSION}/stats"], sync_to_thread=False, tags=["Triton extensions"], responses=_MISSING)
    def stats(request: Asked) -> AllStatistics:
        """Counts and times of one version, or of all that serve."""
        target = target_in(request.path_params)
        found = [servable(target)] if target.version is not None else all_servables(manager, target.name)
        return AllStatistics([statistics(each) for each in found])

    @get("/v2/models/stats", sync_to_thread=False, tags=["Triton extensions"])
    def all_stats() -> AllStatistics:
        """Counts and times of every version that serves."""
        return AllStatistics([statistics(each) for each in all_servables(manager)])

    return [server, live, ready, model_ready, metadata, config, stats, all_stats]


def _readiness(state: Ready) -> Response[Ready]:
    if state.ready:
        return Response(state)
    return Response(state, status_code=503, headers={"retry-after": f"{RETRY_AFTER_S:.0f}"})
