"""Columns of a table, however the user holds it, as inputs with names that a manifest may have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from exporter.data.dataset import Array

_ILLEGAL = re.compile(r"[^A-Za-z0-9._-]+")


def columns_of(X: Any) -> dict[str, Any] | None:
    """Legal name → column of a dict, a DataFrame (whatever has `columns`) or a structured array; None for others.

    An array of objects [n, M] that holds numbers among texts is a table too: `column_0` and so on.
    """
    if isinstance(X, Mapping):
        names = list(X)
    elif isinstance(X, np.ndarray):
        if X.dtype == np.object_ and X.ndim == 2 and not all(_are_texts(column) for column in X.T):
            return {f"column_{place}": column for place, column in enumerate(X.T)}
        names = list(X.dtype.names or ())
    else:
        names = list(getattr(X, "columns", ()))
    return {legal: X[name] for name, legal in legal_names(names).items()} if names else None


def legal_names(names: Iterable[object]) -> dict[Any, str]:
    """Each column's name → the input's: letters without accents, digits, `.`, `_` and `-`; no two the same."""
    found: dict[Any, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode()
        legal = _ILLEGAL.sub("_", plain).lstrip("._-")[:100] or "column"
        taken = set(found.values())
        found[name] = next(
            each for k in range(1, len(found) + 3) if (each := legal if k == 1 else f"{legal}_{k}") not in taken
        )
    return found


def text_or_numbers(array: Array) -> Array:
    """An object array as texts (object of str), or as float32 where nothing but numbers is in it.

    A missing text (None, NaN) is the empty one, a missing number is NaN: what clients send instead.
    """
    flat = array.reshape(-1).tolist()
    absent = [value is None or (isinstance(value, float) and value != value) for value in flat]
    given = [value for value, gone in zip(flat, absent, strict=True) if not gone]
    if given and all(isinstance(value, int | float | np.number) for value in given):
        numbers = [np.nan if gone else float(value) for value, gone in zip(flat, absent, strict=True)]
        return np.array(numbers, dtype=np.float32).reshape(array.shape)
    if not any(absent) and all(isinstance(value, str | bytes) for value in flat):
        return array
    texts = ["" if gone else _text(value) for value, gone in zip(flat, absent, strict=True)]
    found = np.empty(len(texts), dtype=np.object_)
    found[:] = texts
    return found.reshape(array.shape)


def _are_texts(array: Array) -> bool:
    return all(value is None or isinstance(value, str | bytes) for value in array.tolist())


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
