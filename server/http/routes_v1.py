"""TensorFlow Serving's routes but for predict: which models and versions there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import HTTPRouteHandler

from server.http.codec.call import target_in
from server.http.codec.errors import without_paths
from server.http.codec.signature import Signatures
from server.http.metadata import version_status
from server.http.metadata_v1 import V1Metadata, v1_metadata
from server.http.openapi import error_responses
from server.http.response_structs import V1Models, V1Status, VersionStatus

if TYPE_CHECKING:
    from server.serving.manager import Manager


def v1_routes(manager: Manager) -> list[HTTPRouteHandler]:
    """The handlers, bound to `manager`."""
    signatures = Signatures()

    @get("/v1/models", sync_to_thread=False, tags=["TensorFlow Serving"])
    def models() -> V1Models:
        """Names of the ensembles that answer."""
        return V1Models(sorted({entry.name for entry in manager.index() if entry.state == "READY"}))

    @get(
        [
            "/v1/models/{name:str}",
            "/v1/models/{name:str}/versions/{version:str}",
            "/v1/models/{name:str}/labels/{label:str}",
        ],
        sync_to_thread=False,
        tags=["TensorFlow Serving"],
        responses=error_responses(404, 503),
    )
    def status(request: Request[Any, Any, Any]) -> V1Status:
        """Whether an ensemble answers, and the state of its versions."""
        _check_method(request)
        target = target_in(request.path_params)
        version = target.version
        if target.label is not None:
            version = manager.route(target.name, label=target.label).version
        elif version is not None:
            manager.route(target.name, version)
        ready = manager.ensemble_ready(target.name, version)
        chosen = None if version is None else str(version)
        found = [_public(each) for each in version_status(manager, target.name) if chosen in (None, each.version)]
        return V1Status(target.name, ready, found)

    @get(
        [
            "/v1/models/{name:str}/metadata",
            "/v1/models/{name:str}/versions/{version:str}/metadata",
            "/v1/models/{name:str}/labels/{label:str}/metadata",
        ],
        sync_to_thread=False,
        tags=["TensorFlow Serving"],
        responses=error_responses(404, 503),
    )
    def metadata(request: Request[Any, Any, Any]) -> V1Metadata:
        """Inputs and outputs in TensorFlow Serving's terms."""
        target = target_in(request.path_params)
        found = manager.route(target.name, target.version, target.label)
        return v1_metadata(signatures.of(found))

    return [models, status, metadata]


def _check_method(request: Request[Any, Any, Any]) -> None:
    """`…:predict` is routed as a name; whoever asks for it with GET has the right path and the wrong method."""
    if request.scope["path"].rstrip("/").endswith(":predict"):
        raise MethodNotAllowedException(headers={"allow": "POST"})


def _public(status: VersionStatus) -> VersionStatus:
    message = without_paths(status.status["error_message"])
    return VersionStatus(status.version, status.state, {**status.status, "error_message": message})
