"""What is served, described: server and ensemble metadata, Triton's configuration and statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from model_repo import Manifest
from model_repo.cli import distribution
from server.errors import NotReady, UnknownVersion
from server.http.codec.signature import Signature
from server.http.response_structs import (
    BatchStatistics,
    ConfigTensor,
    DetectorMetadata,
    DynamicBatching,
    EnsembleMetadata,
    InferenceStatistics,
    InstanceGroup,
    MemberMetadata,
    ModelConfig,
    ModelMetadata,
    ModelStatistics,
    ServerMetadata,
    SpecificVersions,
    StringValue,
    TensorMetadata,
    Timing,
    VersionPolicy,
    VersionStatus,
)

if TYPE_CHECKING:
    from server.serving.manager import Manager
    from server.serving.servable import Servable
    from server.serving.statistics import Duration, ServableStats

PLATFORM = "tutti_ensemble"
EXTENSIONS = [
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
    "binary_tensor_data",
    "parameters",
]
"""The protocol's extensions that this server has; not among them: sequences, shared memory, trace, logging."""
MAX_CLASSES_SHOWN = 1000


def server_metadata() -> ServerMetadata:
    """The server's name, release and extensions."""
    return ServerMetadata("tutti", distribution.version(), EXTENSIONS)


def model_metadata(servable: Servable, signature: Signature, manager: Manager) -> ModelMetadata:
    """Inputs and outputs as clients see them, and the ensemble behind them."""
    manifest, ensemble = servable.manifest, servable.ensemble
    members = [
        MemberMetadata(
            name=member.name,
            weight=member.weight,
            providers=list(ensemble.providers.get(member.name, ())),
            family=member.family,
            fallback=ensemble.fallbacks.get(member.name),
        )
        for member in manifest.members
    ]
    detectors = [
        DetectorMetadata(
            name=detector.name,
            weight=detector.weight,
            providers=list(ensemble.providers.get(detector.name, ())),
            family=detector.family,
            fallback=ensemble.fallbacks.get(detector.name),
        )
        for detector in manifest.detectors
    ]
    return ModelMetadata(
        name=servable.name,
        versions=[str(version) for version in manager.versions(servable.name)],
        platform=PLATFORM,
        inputs=[TensorMetadata(i.name, i.kind.name, list(i.shape)) for i in signature.inputs.values()],
        outputs=[TensorMetadata(o.name, o.kind.name, list(o.shape)) for o in signature.outputs.values()],
        ensemble=EnsembleMetadata(
            task=manifest.task,
            fusion=rule_of(servable),
            quorum=manifest.quorum,
            plan=ensemble.plan,
            lanes=ensemble.lanes,
            members=members,
            detectors=detectors,
            ood_threshold=manifest.ood_threshold,
            missing=[each.name for each in manifest.inputs if each.missing == "nan"],
            thresholds=_thresholds(manifest),
            extras=[extra.name for extra in manifest.extras],
            labels=dict(manager.labels(servable.name)),
            default_outputs=list(ensemble.default_outputs),
            classes=list(manifest.classes[:MAX_CLASSES_SHOWN]),
            description=manifest.description,
            digest=servable.digest,
        ),
    )


def _thresholds(manifest: Manifest) -> list[float]:
    """Of as many labels as are shown; none where the task has no thresholds."""
    return list(manifest.label_thresholds[:MAX_CLASSES_SHOWN]) if manifest.task == "multilabel" else []


def rule_of(servable: Servable) -> str:
    """The fusion's name, as the manifest writes it."""
    tag = servable.manifest.fusion.__struct_config__.tag
    return str(tag)


def model_config(servable: Servable, signature: Signature, manager: Manager) -> ModelConfig:
    """Triton's configuration; `max_batch_size` is the batcher's, a larger request is split."""
    batching = servable.manifest.batching
    providers = {p for used in servable.ensemble.providers.values() for p in used}
    kind = "KIND_GPU" if providers - {"CPUExecutionProvider"} else "KIND_CPU"
    return ModelConfig(
        name=servable.name,
        platform=PLATFORM,
        backend="",
        version_policy=VersionPolicy(SpecificVersions(manager.versions(servable.name))),
        max_batch_size=batching.max_batch_rows,
        input=[_config_tensor(i.name, i.kind.name, i.shape) for i in signature.inputs.values()],
        output=[_config_tensor(o.name, o.kind.name, o.shape) for o in signature.outputs.values()],
        instance_group=[InstanceGroup(servable.name, kind, servable.ensemble.lanes)],
        dynamic_batching=DynamicBatching(
            preferred_batch_size=[],
            max_queue_delay_microseconds=round(batching.max_queue_delay_s * 1e6),
            default_queue_policy={
                "default_timeout_microseconds": round(batching.timeout_s * 1e6),
                "max_queue_size": batching.max_queue_rows,
            },
        ),
        parameters={"plan": StringValue(servable.ensemble.plan), "fusion": StringValue(rule_of(servable))},
    )


def _config_tensor(name: str, kind: str, shape: tuple[int, ...]) -> ConfigTensor:
    data_type = "TYPE_STRING" if kind == "BYTES" else f"TYPE_{kind}"
    dims = list(shape[1:])
    # Triton has no empty dims: one number a row is [1], reshaped to nothing.
    return ConfigTensor(name, data_type, dims or [1], None if dims else {"shape": []})


def statistics(servable: Servable) -> ModelStatistics:
    """Triton's statistics of one version."""
    stats: ServableStats = servable.stats
    return ModelStatistics(
        name=servable.name,
        version=str(servable.version),
        last_inference=stats.last_inference_ms,
        inference_count=stats.inference_count,
        execution_count=stats.execution_count,
        inference_stats=InferenceStatistics(
            success=_timing(stats.success),
            fail=_timing(stats.fail),
            queue=_timing(stats.queue),
            compute_input=_timing(stats.compute_input),
            compute_infer=_timing(stats.compute_infer),
            compute_output=_timing(stats.compute_output),
            cache_hit=Timing(),
            cache_miss=Timing(),
        ),
        batch_stats=[
            BatchStatistics(size, Timing(spent.count, 0), _timing(spent), Timing(spent.count, 0))
            for size, spent in sorted(stats.batch_stats.items())
        ],
    )


def _timing(spent: Duration) -> Timing:
    return Timing(spent.count, spent.ns)


def all_servables(manager: Manager, name: str | None = None) -> Iterable[Servable]:
    """Every version that serves, of one ensemble or of all; one that stops serving meanwhile is left out."""
    names = [name] if name is not None else list(dict.fromkeys(entry.name for entry in manager.index()))
    for each in names:
        for version in manager.versions(each):
            try:
                yield manager.route(each, version)
            except (UnknownVersion, NotReady):
                continue


def version_status(manager: Manager, name: str) -> list[VersionStatus]:
    """TensorFlow Serving's states of each version of an ensemble."""
    states = {"READY": "AVAILABLE", "LOADING": "LOADING", "UNLOADING": "UNLOADING"}
    return [
        VersionStatus(
            version=str(entry.version),
            state=states.get(entry.state, "END"),
            status={"error_code": "OK", "error_message": ""}
            if not entry.reason
            else {"error_code": "FAILED_PRECONDITION", "error_message": entry.reason},
        )
        for entry in manager.index()
        if entry.name == name and entry.version is not None
    ]
