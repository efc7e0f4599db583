"""The JSON of everything but predictions, as structs, so that the OpenAPI document describes it."""

from __future__ import annotations

from msgspec import Struct, field


class ErrorBody(Struct):
    """Every error: one sentence that names the field, what was given and what was expected."""

    error: str


class ServerMetadata(Struct):
    """`GET /v2`."""

    name: str
    version: str
    extensions: list[str]


class Live(Struct):
    """`GET /v2/health/live`."""

    live: bool


class Ready(Struct, omit_defaults=True):
    """`GET /v2/health/ready` and an ensemble's own."""

    ready: bool
    name: str = ""
    reason: str = ""
    """Why the server is not ready."""


class TensorMetadata(Struct):
    """One input or output; -1 is the number of rows, or any length."""

    name: str
    datatype: str
    shape: list[int]


class MemberMetadata(Struct, omit_defaults=True):
    """One member: what it is, and the execution providers that it really runs on."""

    name: str
    weight: float
    providers: list[str]
    family: str | None = None
    fallback: str | None = None


class DetectorMetadata(Struct, omit_defaults=True):
    """One detector: what it is, its share of `ood_score`, and the execution providers that it really runs on."""

    name: str
    weight: float
    providers: list[str]
    family: str | None = None
    fallback: str | None = None


class EnsembleMetadata(Struct, omit_defaults=True):
    """What the protocol has no field for."""

    task: str
    fusion: str
    quorum: int
    plan: str
    lanes: int
    members: list[MemberMetadata]
    labels: dict[str, int]
    default_outputs: list[str]
    classes: list[str] = field(default_factory=list)
    description: str = ""
    detectors: list[DetectorMetadata] = field(default_factory=list)
    ood_threshold: float | None = None
    """`in_distribution` is an `ood_score` of at most this."""
    missing: list[str] = field(default_factory=list)
    """Inputs whose numbers may be missing: null or NaN in JSON."""
    thresholds: list[float] = field(default_factory=list)
    """Of each label, in the order of `classes`: it holds where its probability is at least this."""
    extras: list[str] = field(default_factory=list)
    """Outputs given only to requests that name them."""
    digest: str = ""
    """sha256 of the manifest: tells this content from any other that had its number."""


class ModelMetadata(Struct):
    """`GET /v2/models/{name}`."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    ensemble: EnsembleMetadata


class ConfigTensor(Struct, omit_defaults=True):
    """An input or output in Triton's configuration: dimensions without the rows."""

    name: str
    data_type: str
    dims: list[int]
    reshape: dict[str, list[int]] | None = None


class InstanceGroup(Struct):
    """Triton's word for lanes."""

    name: str
    kind: str
    count: int


class DynamicBatching(Struct):
    """The batcher's delay in microseconds; sizes are not preferred."""

    preferred_batch_size: list[int]
    max_queue_delay_microseconds: int
    default_queue_policy: dict[str, int]


class SpecificVersions(Struct):
    """The versions served."""

    versions: list[int]


class VersionPolicy(Struct):
    """Which versions are served: those that routes name."""

    specific: SpecificVersions


class StringValue(Struct):
    """A parameter of Triton's configuration."""

    string_value: str


class ModelConfig(Struct):
    """`GET /v2/models/{name}/config`, in the fields of Triton's configuration that mean something here."""

    name: str
    platform: str
    backend: str
    version_policy: VersionPolicy
    max_batch_size: int
    input: list[ConfigTensor]
    output: list[ConfigTensor]
    instance_group: list[InstanceGroup]
    dynamic_batching: DynamicBatching
    parameters: dict[str, StringValue]


class Timing(Struct):
    """How often, and nanoseconds altogether."""

    count: int = 0
    ns: int = 0


class InferenceStatistics(Struct):
    """Where requests spent their time."""

    success: Timing
    fail: Timing
    queue: Timing
    compute_input: Timing
    compute_infer: Timing
    compute_output: Timing
    cache_hit: Timing
    cache_miss: Timing


class BatchStatistics(Struct):
    """The batches of one size."""

    batch_size: int
    compute_input: Timing
    compute_infer: Timing
    compute_output: Timing


class ModelStatistics(Struct):
    """One version's figures since it was loaded; `last_inference` in milliseconds since the epoch."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]
    memory_usage: list[Timing] = field(default_factory=list)


class AllStatistics(Struct):
    """`GET /v2/models/stats`."""

    model_stats: list[ModelStatistics]


class IndexItem(Struct, omit_defaults=True):
    """One version in the repository index; `version` is empty where the ensemble has none to name."""

    name: str
    version: str
    state: str
    reason: str
    digest: str = ""
    """sha256 of the manifest that is loaded under this number, which may come again with other content."""


class VersionStatus(Struct):
    """TensorFlow Serving's word on one version."""

    version: str
    state: str
    status: dict[str, str]


class V1Status(Struct):
    """`GET /v1/models/{name}`: TensorFlow Serving's fields, and KServe's `name` and `ready`."""

    name: str
    ready: bool
    model_version_status: list[VersionStatus]


class V1Models(Struct):
    """`GET /v1/models`."""

    models: list[str]


class Front(Struct):
    """`GET /`: where to go from here."""

    name: str
    version: str
    protocol: str
    openapi: str
    metrics: str
    index: str
