"""Members that read texts as token ids. Specs alone: torch is imported when a member trains."""

from exporter.members.base import Family
from exporter.text.families.linear import Linear
from exporter.text.families.neural import Bert, Cnn, Gpt, Gru, Lstm, Recursive

TEXT_FAMILIES: tuple[type[Family], ...] = (Linear, Cnn, Lstm, Gru, Recursive, Bert, Gpt)

__all__ = ["TEXT_FAMILIES", "Bert", "Cnn", "Gpt", "Gru", "Linear", "Lstm", "Recursive"]
