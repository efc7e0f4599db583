"""What one version takes and gives, as TensorFlow Serving describes a model: the one signature `serving_default`."""

from __future__ import annotations

from msgspec import Struct

from server.http.codec.declared import InputTensor, OutputTensor
from server.http.codec.signature import Signature

DTYPES = {
    "BOOL": "DT_BOOL", "UINT8": "DT_UINT8", "UINT16": "DT_UINT16", "UINT32": "DT_UINT32", "UINT64": "DT_UINT64",
    "INT8": "DT_INT8", "INT16": "DT_INT16", "INT32": "DT_INT32", "INT64": "DT_INT64", "FP16": "DT_HALF",
    "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE", "BYTES": "DT_STRING",
}  # fmt: skip
"""TensorFlow's name of each datatype."""
METHOD = "tensorflow/serving/predict"


class V1Dimension(Struct):
    """A dimension; -1 is the number of rows, or any length. A number as text, as protobuf's JSON has it."""

    size: str
    name: str = ""


class V1Shape(Struct):
    """A tensor's dimensions."""

    dim: list[V1Dimension]
    unknown_rank: bool = False


class V1Tensor(Struct):
    """One input or output."""

    dtype: str
    tensor_shape: V1Shape
    name: str


class V1Signature(Struct):
    """The inputs and outputs of `:predict`."""

    inputs: dict[str, V1Tensor]
    outputs: dict[str, V1Tensor]
    method_name: str = METHOD


class V1Signatures(Struct):
    """Signatures by name."""

    signature_def: dict[str, V1Signature]


class V1SignatureMap(Struct):
    """The one kind of metadata that there is."""

    signature_def: V1Signatures


class V1Spec(Struct):
    """Which version is described."""

    name: str
    signature_name: str
    version: str


class V1Metadata(Struct):
    """`GET /v1/models/{name}/metadata`."""

    model_spec: V1Spec
    metadata: V1SignatureMap


def v1_metadata(signature: Signature) -> V1Metadata:
    """The description of one version: its inputs, and the outputs that `:predict` gives."""
    outputs = {name: _tensor(signature.outputs[name]) for name in signature.default_outputs}
    described = V1Signature({name: _tensor(tensor) for name, tensor in signature.inputs.items()}, outputs)
    return V1Metadata(
        V1Spec(signature.ensemble, "", signature.version_text),
        V1SignatureMap(V1Signatures({"serving_default": described})),
    )


def _tensor(tensor: InputTensor | OutputTensor) -> V1Tensor:
    shape = V1Shape([V1Dimension(str(size)) for size in tensor.shape])
    return V1Tensor(DTYPES[tensor.kind.name], shape, f"{tensor.name}:0")
