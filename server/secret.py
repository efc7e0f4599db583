"""A value that never prints: what it is held in shows that there is one, and nothing of it."""

from __future__ import annotations

import hmac

SHORTEST = 16
"""Characters of a secret at least: one that can be guessed is none."""


class Secret:
    """Text that is compared and never shown: `repr`, `str`, format, JSON and tracebacks have no way to it."""

    __slots__ = ("_bytes",)

    def __init__(self, text: str) -> None:
        """Raises ValueError, which tells the length alone, where the text is too short or no text."""
        if not isinstance(text, str):
            raise ValueError(f"expected text, in quotes, of at least {SHORTEST} characters")  # noqa: TRY004 - msgspec's
        if len(text) < SHORTEST:
            raise ValueError(f"has {len(text)} characters, expected at least {SHORTEST}")
        self._bytes = text.encode("utf-8", "surrogateescape")

    def matches(self, given: str) -> bool:
        """Whether `given` is the secret; takes as long wherever they differ."""
        return hmac.compare_digest(self._bytes, given.encode("utf-8", "surrogateescape"))

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._bytes, other._bytes)

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
