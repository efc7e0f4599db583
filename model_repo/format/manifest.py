"""The manifest of a version: `ensemble.json` as frozen structs.

`docs/FORMAT.md` specifies the file; this module is its only reader and writer. A manifest that
decodes is well-typed; `problems()` in `model_repo.format.rules` says whether it also makes sense.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

FORMAT = 1
MANIFEST_FILE = "ensemble.json"
THRESHOLD = 0.5
"""Of a label, where the manifest has none."""

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Bytes = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Dimension = Annotated[int, Meta(ge=-1)]
Share = Annotated[float, Meta(ge=0, le=1)]

Task = Literal["classification", "multilabel", "dense", "regression", "ranking", "embedding"]
Kind = Literal["probabilities", "logits", "value"]
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip


class _Closed(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Unknown fields are refused: a newer writer must not be half-understood by an older reader."""


class File(_Closed, frozen=True, kw_only=True):
    """A file of the version: path inside its folder, size in bytes and sha256 of its content."""

    file: str
    sha256: Sha256
    bytes: Bytes


class ImageInput(_Closed, frozen=True, kw_only=True):
    """How an image body (PNG, JPEG) becomes one row of the input.

    The image is converted to `mode`, resized to `width` × `height` (bicubic) where it differs, laid out as
    `layout` and multiplied by `scale` (pixel values are 0–255 before that).
    """

    mode: Literal["L", "RGB"]
    width: Annotated[int, Meta(ge=1, le=16384)]
    height: Annotated[int, Meta(ge=1, le=16384)]
    layout: Literal["HW", "HWC", "CHW"]
    scale: float = 1.0


class TextInput(_Closed, frozen=True, kw_only=True):
    """A `text/plain` body becomes one row of a BYTES input; `max_chars` bounds its length."""

    max_chars: Annotated[int, Meta(ge=1)] = 1_000_000


class Input(_Closed, frozen=True, kw_only=True):
    """One input of the ensemble as clients see it; the first dimension is -1, the rows."""

    name: Name
    datatype: Datatype
    shape: tuple[Dimension, ...]
    image: ImageInput | None = None
    text: TextInput | None = None
    missing: Literal["nan", "refuse"] = "refuse"
    """Whether JSON may say of a float that it is missing, with null or NaN: only where every member takes NaN."""


class Tokenizer(_Closed, frozen=True, kw_only=True):
    """How a server turns the texts of a BYTES input into a tensor of token ids, which members take by its name.

    The file is a Hugging Face `tokenizers` JSON. Without windows the tensor is INT64 [n, L], L being the longest of
    the batch; with them INT64 [n, W, L], W being the most windows of the batch. What is shorter is filled up.
    """

    name: Name
    file: str
    sha256: Sha256
    bytes: Bytes
    input: str
    """The ensemble input whose texts are encoded."""
    max_tokens: Annotated[int, Meta(ge=1, le=65536)]
    """Tokens a row, or a window of it; what lies beyond is cut off, or goes to the next window."""
    stride: Annotated[int, Meta(ge=1)] | None = None
    """Tokens from the beginning of one window to the beginning of the next; absent: no windows."""
    max_windows: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Windows a row; what lies beyond the last is not looked at."""
    pad_id: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    """Fills up rows and windows; members must give the same answer however much of it there is."""
    max_chars: Annotated[int, Meta(ge=1, le=2**30)] = 1_000_000
    """Characters a row that are looked at: a bound on the time that one text may take."""


class Provider(_Closed, frozen=True, kw_only=True):
    """One execution provider with its onnxruntime options, e.g. `CUDAExecutionProvider`."""

    name: str
    options: dict[str, str] = {}


class OnnxModel(_Closed, frozen=True, kw_only=True):
    """One ONNX model of a version, whatever it is for: its file, how it is fed and which output is taken.

    Several may name the same file: it is loaded once, and run once for all that are fed alike.
    """

    name: Name
    file: str
    sha256: Sha256
    bytes: Bytes
    output: str
    """Name of the ONNX output that is taken."""
    external: tuple[File, ...] = ()
    """External weight files that the ONNX file refers to, relative to the ONNX file's folder."""
    inputs: dict[str, str] = {}
    """ONNX input name → ensemble input name; an ONNX input not listed takes the ensemble input of its own name."""
    providers: tuple[Provider, ...] | None = None
    """Overrides the ensemble's providers."""
    family: str | None = None
    """Free text for people: cnn, lstm, tree, …"""


class Member(OnnxModel, frozen=True, kw_only=True):
    """One model that enters the fusion; its output is float `[n, C]`; for one number `[n]` or `[n, 1]`.

    Of a dense answer `[n, C, …]`.
    """

    kind: Kind
    classes: tuple[str, ...] | None = None
    """The member's own class order where it differs; aligned with the ensemble's by name."""
    weight: Annotated[float, Meta(ge=0)] = 1.0
    temperature: Positive = 1.0
    rows: Annotated[int, Meta(ge=1, le=65536)] | None = None
    """The model takes exactly so many rows: it is run in slices of them, the last one filled up. None: any number."""
    adapters: tuple[str, ...] = ()
    """What publishing put into its graph so that it takes the ensemble's inputs, in words, for people."""
    width: Annotated[int, Meta(ge=1)] | None = None
    """Embeddings that are concatenated: the numbers of this member's vector."""
    required: bool = False
    """Without this member no answer is given, whatever the quorum says."""
    parameters: File | None = None
    """What it was trained to, as safetensors: for later trainings and for averaging. No server reads it."""


class Detector(OnnxModel, frozen=True, kw_only=True):
    """A model that never votes: its output, float `[n]` or `[n, 1]`, is the larger the stranger a row is."""

    quantiles: tuple[float, ...]
    """Ascending scores of rows that it was not fitted to: what turns a score into a share of those, 0 to 1."""
    weight: Annotated[float, Meta(ge=0)] = 1.0


class Extra(OnnxModel, frozen=True, kw_only=True):
    """A further output, given as it is and only to requests that name it, e.g. a transcript."""

    datatype: Datatype
    shape: tuple[Dimension, ...]
    """As clients see it; the first dimension is -1, the rows, the others are fixed."""


class _Fusion(_Closed, frozen=True, kw_only=True, tag_field="rule"):
    temperature: Positive = 1.0
    """Temperature of the fused answer; 1 leaves it as it is. Of probabilities only."""


class Mean(_Fusion, frozen=True, kw_only=True, tag="mean"):
    """Σ_k p_k / K."""


class Weighted(_Fusion, frozen=True, kw_only=True, tag="weighted"):
    """Σ_k w_k p_k with the members' weights."""


class Vote(_Fusion, frozen=True, kw_only=True, tag="vote"):
    """Σ_k w_k · 1[argmax p_k = c]; a tie goes to the class with the larger mean probability.

    Of several labels Σ_k w_k · 1[p_k ≥ threshold], label by label; a tie is decided by the mean probability.
    """


class Geometric(_Fusion, frozen=True, kw_only=True, tag="geometric"):
    """softmax(Σ_k w_k log max(p_k, floor)): the logarithmic opinion pool; of several labels the same over odds.

    That is sigmoid(Σ_k w_k log(p_k / (1 - p_k))), label by label, with p_k between floor and 1 - floor.
    """

    floor: Annotated[float, Meta(gt=0, le=0.1)] = 1e-12
    """Smallest probability a member may give; one confident zero would veto a class."""


class Median(_Fusion, frozen=True, kw_only=True, tag="median"):
    """Median per class, renormalised; for a regression, and for labels, the median of each column."""


class ReciprocalRank(_Fusion, frozen=True, kw_only=True, tag="reciprocal_rank"):
    """Ranking only: Σ_k w_k / (constant + rank_k), ranks from 1 (Cormack et al. 2009: constant 60)."""

    constant: Positive = 60.0


class Concatenate(_Fusion, frozen=True, kw_only=True, tag="concatenate"):
    """Embeddings only: the members' unit vectors one behind the other, which takes every member."""


Fallback = Mean | Weighted | Vote | Geometric | Median


class Stacked(_Fusion, frozen=True, kw_only=True, tag="stacked"):
    """A learned rule: `fusion.onnx` maps float32 `[n, K, C]` to `[n, C]` probabilities."""

    file: str
    sha256: Sha256
    bytes: Bytes
    fallback: Fallback
    """The rule where a member is missing: the learned one cannot do without."""


Fusion = Mean | Weighted | Vote | Geometric | Median | ReciprocalRank | Concatenate | Stacked


class Conformal(_Closed, frozen=True, kw_only=True):
    """Split-conformal sets: a class is in the set when 1 - p ≤ `quantile`; the label always is."""

    alpha: Fraction
    quantile: Annotated[float, Meta(ge=0, le=1)]


class Batching(_Closed, frozen=True, kw_only=True):
    """Limits of the batcher, in rows and seconds; see docs/configuration.md for how to choose."""

    max_batch_rows: Annotated[int, Meta(ge=1, le=65536)] = 64
    max_queue_delay_s: Annotated[float, Meta(ge=0, le=60)] = 0.0
    max_queue_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 65536
    """Bounds memory; what bounds time is `max_queue_wait_s`."""
    max_queue_wait_s: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """Longest wait for a lane that is still accepted, as estimated when a request comes."""
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Deadline of a request that names none, from its arrival."""


class Golden(_Closed, frozen=True, kw_only=True):
    """Inputs with the exporter's own answers to them; docs/FORMAT.md names the arrays."""

    file: str
    sha256: Sha256
    bytes: Bytes
    rows: Annotated[int, Meta(ge=1)]
    atol: Annotated[float, Meta(ge=0)] = 1e-4
    """Largest difference allowed in every float among them, before what `rtol` adds."""
    rtol: Annotated[float, Meta(ge=0, le=1)] = 1e-5
    """What each may differ more, as a share of its own size: 80 last digits of float32."""


class LedgerFile(_Closed, frozen=True, kw_only=True):
    """What the members answered to rows that they were not trained on, so that a fusion can be fitted anew.

    No server reads it; `tutti refit` does.
    """

    file: str
    sha256: Sha256
    bytes: Bytes
    inputs: File | None = None
    """The rows themselves, for members that come later; absent where they are too large."""


class Execution(_Closed, frozen=True, kw_only=True):
    """Execution providers in order of preference, and whether falling back is an error."""

    providers: tuple[Provider, ...] = ()
    """Empty: the server's setting decides."""
    policy: Literal["strict", "prefer"] = "prefer"


class Manifest(_Closed, frozen=True, kw_only=True):
    """`ensemble.json`: everything a server needs to know about one version."""

    format: int
    name: Name
    version: Annotated[int, Meta(ge=1)]
    task: Task
    inputs: tuple[Input, ...]
    members: tuple[Member, ...]
    fusion: Fusion
    quorum: Annotated[int, Meta(ge=1)]
    golden: Golden
    tokenizers: tuple[Tokenizer, ...] = ()
    """What the server makes of texts before members run."""
    classes: tuple[str, ...] = ()
    """Names of the C classes (classification, dense), labels (multilabel) or candidates (ranking), in output order.

    Empty for a regression or an embedding.
    """
    thresholds: tuple[Share, ...] = ()
    """Multilabel: a label holds where its probability is at least this; none: 0.5 for every label."""
    value_shape: tuple[Annotated[int, Meta(ge=1)], ...] = ()
    """Regression: the shape of one row's value; none: one number. Embedding: the numbers of an answer."""
    positions: tuple[Dimension, ...] = ()
    """Dense: what lies behind the classes of a row's answer, -1 where a length varies: height and width, tokens."""
    conformal: Conformal | None = None
    detectors: tuple[Detector, ...] = ()
    """Out-of-distribution detectors; with any, the ensemble answers an `ood_score`."""
    ood_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    """A row is `in_distribution` when its `ood_score` is at most this."""
    extras: tuple[Extra, ...] = ()
    ledger: LedgerFile | None = None
    batching: Batching = Batching()
    execution: Execution = Execution()
    description: str = ""
    report: dict[str, Any] = {}
    """Figures on the test split: docs/FORMAT.md."""
    provenance: dict[str, Any] = {}

    @property
    def columns(self) -> int:
        """C: the width of a member's output after alignment; for a regression the numbers of one value.

        Of embeddings that are concatenated, that of the widest.
        """
        if isinstance(self.fusion, Concatenate):
            return max((member.width or 1 for member in self.members), default=1)
        return len(self.classes) or prod(self.value_shape)

    @property
    def fused_columns(self) -> int:
        """The width of the fused answer: C, but where members are concatenated."""
        return len(self.classes) or prod(self.value_shape)

    @property
    def label_thresholds(self) -> tuple[float, ...]:
        """The probability from which on each class holds, [C]; what it says of other tasks means nothing."""
        return self.thresholds or (THRESHOLD,) * self.columns

    @property
    def models(self) -> tuple[OnnxModel, ...]:
        """Every ONNX model but a learned fusion: members, detectors, extras."""
        return (*self.members, *self.detectors, *self.extras)


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
