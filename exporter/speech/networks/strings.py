"""Strings of words made of clips: levelled, with short gaps between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from exporter.speech.families.spec import Distortion, Joining
from exporter.speech.networks.fitting import Clips, distorted

_LEVEL = 0.05
"""Root mean square of each clip in a string: recordings differ by 40 dB, which no speaker does within a sentence."""


@dataclass(frozen=True)
class Strings:
    """`audio` float32 [n, T], `tokens` int64 [n, U] (classes, 0 behind the end), `length` int64 [n]: how many."""

    audio: Tensor
    tokens: Tensor
    length: Tensor


def drawn(
    clips: Clips, count: int, joining: Joining, rate: int, generator: torch.Generator, distortion: Distortion | None
) -> Strings:
    """`count` strings of clips drawn at random, of any speakers; each clip distorted where bounds are given."""
    low, high = joining.tokens
    length = torch.randint(low, high + 1, (count,), generator=generator)
    index = torch.randint(len(clips), (int(length.sum()),), generator=generator)
    audio, samples, target = clips.taken(index)
    if distortion is not None:
        audio, samples = distorted(audio, samples, distortion, generator)
    level = audio.square().sum(dim=1).div(samples).sqrt().clamp(min=1e-6)
    audio = audio * (_LEVEL / level)[:, None]
    least, most = (bound * rate for bound in joining.gap_s)
    gaps = (least + torch.rand(len(index), generator=generator) * (most - least)).long()
    return Strings(
        _joined(audio, samples, gaps, length).clamp(-1, 1), _ragged(target, length, int(length.max())), length
    )


def _joined(audio: Tensor, samples: Tensor, gaps: Tensor, length: Tensor) -> Tensor:
    """float32 [n, T] of one clip [k, t] after the other, `length` of them in each row, a gap after each."""
    rows = []
    each = length.tolist()
    for part, size, gap in zip(
        torch.split(audio, each), torch.split(samples, each), torch.split(gaps, each), strict=True
    ):
        pieces = [
            torch.nn.functional.pad(clip[:end], (0, silence))
            for clip, end, silence in zip(part, size.tolist(), gap.tolist(), strict=True)
        ]
        rows.append(torch.cat(pieces))
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _ragged(values: Tensor, length: Tensor, width: int) -> Tensor:
    found = values.new_zeros(len(length), width)
    for row, part in zip(found, torch.split(values, length.tolist()), strict=True):
        row[: len(part)] = part
    return found
