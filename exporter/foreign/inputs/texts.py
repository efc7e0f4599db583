"""Members that take token ids, given texts: a tokenizer before them, masks and token types made in their graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from exporter.bundle import NO_DIGEST
from exporter.data.dataset import TokenizerFile
from exporter.errors import BundleError
from exporter.foreign.answers import Given
from exporter.foreign.inputs.rows import WORDS
from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.neighbours import apart
from exporter.foreign.tolerance import Tolerance
from exporter.onnx_graphs.edits import add_constant, fresh
from model_repo import Input, TextInput, Tokenizer
from server.runtime.answer.tokenizers import Encoder, TextError, codec_of, encode_with
from server.runtime.datatypes import Array, TensorInfo

TEXT = "text"
"""The ensemble's input, where no member has one of its own that is texts."""
MAX_TOKENS = 512
"""Where neither the user nor the file says how many: what BERT and its kin take."""
MOST_WORDS = 24
_PADS = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>")
_INTEGERS = {"tensor(int64)": TensorProto.INT64, "tensor(int32)": TensorProto.INT32}


@dataclass(frozen=True)
class Texts:
    """Tokenizers before some members; without any it changes nothing."""

    files: tuple[TokenizerFile, ...] = ()
    encoders: tuple[Encoder, ...] = ()
    input: str = TEXT

    @property
    def tensors(self) -> frozenset[str]:
        """The names of what they make."""
        return frozenset(encoder.name for encoder in self.encoders)

    @property
    def entries(self) -> tuple[Tokenizer, ...]:
        """As the manifest has them, but for digests and sizes."""
        return tuple(file.entry for file in self.files if isinstance(file.entry, Tokenizer))

    def inputs(self, others: Sequence[Input]) -> tuple[Input, ...]:
        """The ensemble's inputs: the texts, and what members take themselves."""
        if not self.encoders:
            return tuple(others)
        own = [entry for entry in others if entry.name != self.input]
        return (Input(name=self.input, datatype="BYTES", shape=(-1,), text=TextInput()), *own)

    def drawn(self, feeds: Mapping[str, Array], seed: int = 1) -> dict[str, Array]:
        """Drawn rows with texts of several words, some long, some short."""
        if not self.encoders:
            return dict(feeds)
        random, rows = np.random.default_rng(seed), len(feeds[self.input])
        texts = [" ".join(random.choice(WORDS[:-1], random.integers(1, MOST_WORDS))) for _ in range(rows)]
        return {**feeds, self.input: np.array(texts, dtype=np.object_)}

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """`feeds` with every tokenizer's ids beside them. Raises BundleError."""
        try:
            return {**feeds, **{each.name: each(feeds[self.input].ravel().tolist()) for each in self.encoders}}
        except TextError as error:
            raise BundleError("the texts of the golden rows", [str(error)]) from error

    def require_no_padding(self, members: Sequence[Given], feeds: Mapping[str, Array], tolerance: Tolerance) -> None:
        """Raise BundleError for members whose answer to a text hangs on how long its batch-mates are."""
        wrong = []
        for one in members:
            if not self.tensors.intersection(one.file.wiring.values()):
                continue
            lengths = np.array([len(str(text)) for text in feeds[self.input]])
            for place in {int(lengths.argmin()), int(lengths.argmax())}:
                row = self({name: array[place : place + 1] for name, array in feeds.items()})
                alone = one.file.run(one.output.name, row)
                found = apart(alone, one.values[place : place + 1], tolerance)
                if alone.shape[1:] != one.values.shape[1:] or found.far:
                    wrong.append(
                        f"member '{one.file.name}': a text alone and the same text filled up to a longer one differ by "
                        f"{found.difference:.3g}, allowed is {found.allowed:.3g}: its graph must not see padding"
                    )
                    break
        if wrong:
            raise BundleError("texts that share a batch must not change each other's answers", wrong)


def tokenized(
    files: Sequence[ModelFile], paths: Mapping[str, Path], max_tokens: int | None
) -> tuple[list[ModelFile], Texts]:
    """The members of `paths` (member → tokenizer.json) taking ids of texts, and what makes them. Raises BundleError."""
    made: dict[tuple[str, int, int], tuple[TokenizerFile, Encoder]] = {}
    found: list[ModelFile] = []
    wrong: list[str] = []
    taken = {entry.name for file in files for entry in file.inputs}
    for file in files:
        if file.name not in paths:
            found.append(file)
            continue
        try:
            data, encode = _read(paths[file.name])
            ids = _ids(file)
            pad, tokens = _pad_of(data), max_tokens or _tokens_of(data)
            key = hashlib.sha256(data).hexdigest(), pad, tokens
            if key not in made:
                name = _free(f"tokens-{file.name}", taken)
                entry = Tokenizer(
                    name=name, file=f"tokenizers/{name}.json", sha256=NO_DIGEST, bytes=len(data), input=TEXT,
                    max_tokens=tokens, pad_id=pad,
                )  # fmt: skip
                made[key] = TokenizerFile(entry, data), Encoder(entry, encode)
            found.append(_fed(file, ids, made[key][1].name, pad))
        except ModelFileError as error:
            wrong.append(f"member '{file.name}': {error}")
    if wrong:
        raise BundleError("the tokenizers do not fit the members", wrong)
    return found, Texts(tuple(file for file, _ in made.values()), tuple(encoder for _, encoder in made.values()))


def _read(path: Path) -> tuple[bytes, Any]:
    try:
        data = path.read_bytes()
        return data, encode_with(codec_of(data))
    except OSError as error:
        raise ModelFileError(f"its tokenizer '{path}' cannot be read: {error.strerror}") from error
    except ImportError as error:
        raise ModelFileError("its tokenizer needs the tokenizers package: pip install tokenizers") from error
    except ValueError as error:
        hint = "; expected the tokenizer.json of Hugging Face's tokenizers, which fast tokenizers save"
        raise ModelFileError(f"its tokenizer '{path}' is none: {error}{hint}") from error


def _ids(file: ModelFile) -> TensorInfo:
    """The input that takes the ids: of its inputs of integers the one that is no mask, no type and no position."""
    integers = [entry for entry in file.inputs if entry.type in _INTEGERS]
    plain = [entry for entry in integers if _role(entry.name) == "ids"]
    named = [entry for entry in plain if "id" in entry.name.lower() or "token" in entry.name.lower()]
    chosen = plain if len(plain) == 1 else named
    if len(chosen) != 1:
        told = ", ".join(f"'{entry.name}'" for entry in file.inputs)
        raise ModelFileError(f"which of its inputs takes token ids? They are {told}; expected one of INT64 [n, L]")
    if len(chosen[0].shape) != 2:
        raise ModelFileError(f"its input '{chosen[0].name}' is {list(chosen[0].shape)}, token ids are [n, L]")
    if isinstance(size := chosen[0].shape[1], int):
        raise ModelFileError(
            f"its input '{chosen[0].name}' takes exactly {size} tokens; texts have as many as they have: export it "
            "with a dynamic second dimension"
        )
    if positions := [entry.name for entry in integers if _role(entry.name) == "position"]:
        raise ModelFileError(f"its input '{positions[0]}' takes positions: export it without, they follow from the ids")
    return chosen[0]


def _role(name: str) -> str:
    lower = name.lower()
    if "mask" in lower:
        return "mask"
    if "type" in lower or "segment" in lower:
        return "type"
    return "position" if "position" in lower else "ids"


def _fed(file: ModelFile, ids: TensorInfo, source: str, pad: int) -> ModelFile:
    """The file with `source` in the place of its ids, and its masks and types made of them."""
    graph = deepcopy(file.graph)
    others = [entry for entry in file.inputs if entry.type in _INTEGERS and entry.name != ids.name]
    name = _as_int64(graph, ids) if ids.type != "tensor(int64)" else ids.name
    nodes = list(graph.graph.node)
    del graph.graph.node[:]
    if name != ids.name:
        graph.graph.node.append(helper.make_node("Cast", [name], [ids.name], to=_INTEGERS[ids.type]))
    for entry in others:
        _derived(graph, entry, name, pad)
    graph.graph.node.extend(nodes)
    made = ", ".join(f"'{entry.name}'" for entry in others)
    note = f"its '{ids.name}' come from texts, by tokenizer '{source}'{f'; {made} made of them' if made else ''}"
    edited = file.edited(graph, note)
    return replace(edited, wiring={**file.wiring, name: source})


def _as_int64(graph: ModelProto, ids: TensorInfo) -> str:
    """An input of INT64 in the place of `ids`; its name."""
    name = fresh(graph, f"{ids.name}_int64")
    entry = next(each for each in graph.graph.input if each.name == ids.name)
    entry.name = name
    entry.type.tensor_type.elem_type = TensorProto.INT64
    return name


def _derived(graph: ModelProto, entry: TensorInfo, ids: str, pad: int) -> None:
    """Make a mask (1 where there is no padding) or token types (0) of the ids, in the place of an input."""
    inputs = graph.graph.input
    inputs.remove(next(each for each in inputs if each.name == entry.name))
    to, node = _INTEGERS[entry.type], graph.graph.node
    if _role(entry.name) == "mask":
        padding = add_constant(graph, f"{entry.name}_pad", np.array(pad, np.int64))
        same, other = fresh(graph, f"{entry.name}_same"), fresh(graph, f"{entry.name}_other")
        node.append(helper.make_node("Equal", [ids, padding], [same]))
        node.append(helper.make_node("Not", [same], [other]))
        node.append(helper.make_node("Cast", [other], [entry.name], to=to))
    else:
        zero = fresh(graph, f"{entry.name}_zero")
        node.append(helper.make_node("Sub", [ids, ids], [zero]))
        node.append(helper.make_node("Cast", [zero], [entry.name], to=to))


def _pad_of(data: bytes) -> int:
    """The id that fills up: what the JSON says, else that of a token which is called so, else 0."""
    told = json.loads(data)
    padding = told.get("padding")
    if isinstance(padding, dict) and isinstance(padding.get("pad_id"), int):
        return int(padding["pad_id"])
    added = {entry.get("content"): entry.get("id") for entry in told.get("added_tokens") or ()}
    vocabulary = (told.get("model") or {}).get("vocab")
    known = {**(vocabulary if isinstance(vocabulary, dict) else {}), **added}
    return next((int(known[token]) for token in _PADS if isinstance(known.get(token), int)), 0)


def _tokens_of(data: bytes) -> int:
    truncation = json.loads(data).get("truncation")
    most = truncation.get("max_length") if isinstance(truncation, dict) else None
    return most if isinstance(most, int) and most > 0 else MAX_TOKENS


def _free(wanted: str, taken: set[str]) -> str:
    name = wanted if wanted not in taken else f"{wanted}-ids"
    taken.add(name)
    return name
