"""Flags of `tutti publish` that say how inputs of members become those of the ensemble."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from exporter.cli.arguments import UsageError
from exporter.foreign.sent import TO_NCHW, TO_NHWC, Sent
from server.runtime.datatypes import ONNX_TYPES

V = TypeVar("V")
LONE = ""
"""Stands for a member's only input, or its only pictures."""
_KEYS = ("type", "layout", "resize", "scale", "mean", "std")
_ADAPT = re.compile(rf"(?:(.*):)?((?:{'|'.join(_KEYS)})=.*)", re.DOTALL)
_PERMS = {"NHWC": TO_NCHW, "NCHW": TO_NHWC}
"""What arrives → how its dimensions move."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags, each with what holds where it is not given."""
    group = parser.add_argument_group("inputs")
    group.add_argument("--input", action="append", default=[], metavar="MEMBER:TENSOR=NAME",
                       help="the ensemble's input that a member's takes [its own; lone ones, if alike]")  # fmt: skip
    group.add_argument("--constant", action="append", default=[], metavar="MEMBER:TENSOR=VALUE",
                       help="an input that is no row: a number, a JSON list, a text or @FILE.npy")  # fmt: skip
    group.add_argument("--adapt", action="append", default=[], metavar="MEMBER[:TENSOR]:KEY=…,KEY=…",
                       help="what is sent for a member's input: type=UINT8, layout=NHWC, resize=HxW, scale=1/255, "
                       "mean=…, std=… [as it takes it]")  # fmt: skip


def names_of(arguments: argparse.Namespace, members: Collection[str]) -> dict[str, dict[str, str]]:
    """Member → input → the ensemble's. Raises UsageError."""
    found: dict[str, dict[str, str]] = {}
    for member, tensor, name in _split("--input", arguments.input, members):
        _once("--input", member, tensor, found)[tensor] = name
    return found


def constants_of(arguments: argparse.Namespace, members: Collection[str]) -> dict[str, dict[str, NDArray[Any]]]:
    """Member → input → its value. Raises UsageError."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for member, tensor, text in _split("--constant", arguments.constant, members):
        _once("--constant", member, tensor, found)[tensor] = _value(text)
    return found


def sent_of(arguments: argparse.Namespace, members: Collection[str]) -> dict[str, dict[str, Sent]]:
    """Member → input, or `LONE`, → what is sent for it. Raises UsageError."""
    found: dict[str, dict[str, Sent]] = {}
    for word in arguments.adapt:
        member, colon, rest = word.partition(":")
        matched = _ADAPT.fullmatch(rest) if colon else None
        if matched is None:
            raise UsageError(f"--adapt: '{word}' given, expected MEMBER:KEY=…,KEY=… of {', '.join(_KEYS)}")
        _require_member("--adapt", member, members)
        tensor = matched[1] or LONE
        _once("--adapt", member, tensor, found)[tensor] = _sent(word, matched[2])
    return found


def _split(flag: str, words: Sequence[str], members: Collection[str]) -> list[tuple[str, str, str]]:
    """`MEMBER:TENSOR=REST` in three; a tensor's name may hold colons and equals signs."""
    found = []
    for word in words:
        member, colon, rest = word.partition(":")
        tensor, equals, value = rest.rpartition("=")
        if not (member and colon and tensor and equals and value):
            raise UsageError(f"{flag}: '{word}' given, expected MEMBER:TENSOR=…")
        _require_member(flag, member, members)
        found.append((member, tensor, value))
    return found


def _require_member(flag: str, member: str, members: Collection[str]) -> None:
    if member not in members:
        raise UsageError(f"{flag}: there is no member '{member}'; there are {', '.join(members)}")


def _once(flag: str, member: str, tensor: str, found: dict[str, dict[str, V]]) -> dict[str, V]:
    known = found.setdefault(member, {})
    if tensor in known:
        raise UsageError(f"{flag}: '{member}:{tensor}' is given twice")
    return known


def _value(text: str) -> NDArray[Any]:
    if text.startswith("@"):
        try:
            array: NDArray[Any] = np.load(Path(text[1:]), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UsageError(f"--constant: '{text[1:]}' cannot be read as .npy: {error}") from error
        return array
    try:
        return np.asarray(json.loads(text))
    except ValueError:
        return np.asarray(text, dtype=np.object_)  # a list that is none, or a text


def _sent(word: str, text: str) -> Sent:
    """`resize=320x320,mean=0.485,0.456,0.406,std=…`: what has no key goes on with the one before; `/` separates too."""
    parts: dict[str, list[str]] = {}
    key = ""
    for piece in re.split(r",|/(?=[a-z]+=)", text):
        name, equals, value = piece.partition("=")
        if equals:
            key = name.strip()
            if key not in _KEYS:
                raise UsageError(f"--adapt: '{word}' has '{key}', expected {', '.join(_KEYS)}")
            if key in parts:
                raise UsageError(f"--adapt: '{word}' has '{key}' twice")
        parts.setdefault(key, []).append(value if equals else piece)
    layout = _one(word, "layout", parts)
    if layout is not None and layout not in _PERMS:
        raise UsageError(f"--adapt: layout '{layout}' given, expected NHWC or NCHW, as it is sent")
    sent_type = _one(word, "type", parts)
    if sent_type is not None and (sent_type not in ONNX_TYPES or sent_type == "BYTES"):
        raise UsageError(f"--adapt: type '{sent_type}' given, expected UINT8, FP32 or another datatype, as it is sent")
    scale = _numbers(word, "scale", parts)
    if scale is not None and len(scale) != 1:
        raise UsageError(f"--adapt: '{word}' has {len(scale)} scales, expected one")
    std = _numbers(word, "std", parts)
    if std is not None and 0.0 in std:
        raise UsageError(f"--adapt: '{word}' divides by a std of 0")
    mean = _numbers(word, "mean", parts)
    for key, given, neutral in (("scale", scale, 1.0), ("mean", mean, 0.0), ("std", std, 1.0)):
        if given is not None and set(given) == {neutral}:
            raise UsageError(f"--adapt: '{word}' has {key}={neutral:g}, which changes nothing; leave it out")
    return Sent(
        type=None if sent_type is None else ONNX_TYPES[sent_type],
        perm=None if layout is None else _PERMS[layout],
        size=_size(word, _one(word, "resize", parts)),
        scale=None if scale is None else scale[0],
        mean=mean,
        std=std,
    )


def _one(word: str, key: str, parts: dict[str, list[str]]) -> str | None:
    values = parts.get(key)
    if values is None:
        return None
    if len(values) != 1:
        raise UsageError(f"--adapt: '{word}' has {len(values)} values of '{key}', expected one")
    return values[0].strip()


def _numbers(word: str, key: str, parts: dict[str, list[str]]) -> tuple[float, ...] | None:
    if key not in parts:
        return None
    try:
        return tuple(float(Fraction(value.strip())) for value in parts[key])
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"--adapt: '{word}': {key} is {','.join(parts[key])}, expected numbers such as 1/255"
        ) from error


def _size(word: str, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    matched = re.fullmatch(r"([1-9]\d{0,4})[xX×]([1-9]\d{0,4})", text)
    if matched is None:
        raise UsageError(f"--adapt: '{word}': resize is '{text}', expected HxW such as 224x224")
    return int(matched[1]), int(matched[2])
