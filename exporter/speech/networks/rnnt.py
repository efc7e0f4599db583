"""The likelihood of a token string under an RNN transducer: the forward algorithm (Graves 2012), exact.

The lattice has a node (t, u) for t of T frames and u of U tokens said. From it a blank leads to (t + 1, u), token u
to (t, u + 1); the last blank leads out of (T - 1, U). One step per token: with B(t) = Σ_{s<t} blank(s, u),
    α(t, u) = B(t) + log Σ_{s≤t} exp(α(s, u - 1) + emit(s, u - 1) - B(s)).
That is U steps where diagonals take T + U. B(t) cancels in it, so the sums are float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = -1e30
"""Log-probability of what cannot be; -inf would make gradients NaN."""


def log_likelihood(blank: Tensor, emit: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """float64 [n]: log P(string) from log-probabilities of blanks [n, T, U + 1] and of the strings' tokens [n, T, U].

    `frames` and `tokens` int64 [n] are each row's own T (at least 1) and U; what lies beyond them is not looked at.
    """
    outside = torch.arange(blank.shape[1], device=blank.device)[None, :] >= frames[:, None]
    # Behind its last frame a row goes on by blanks that cost nothing.
    blank = blank.double().masked_fill(outside[:, :, None], 0.0)
    emit = emit.double().masked_fill(outside[:, :, None], NEVER)
    before = _before(blank)
    reached = before[:, :, 0]
    ends = [reached[:, -1]]
    for u in range(1, blank.shape[2]):
        entered = reached[:, :-1] + emit[:, :, u - 1] - before[:, :-1, u]
        total = torch.logcumsumexp(entered, dim=1)
        reached = before[:, :, u] + torch.cat([total, total[:, -1:]], dim=1)
        ends.append(reached[:, -1])
    return torch.stack(ends, dim=1).gather(1, tokens[:, None])[:, 0]


def _before(blank: Tensor) -> Tensor:
    """B: [n, T + 1, U + 1], the sum of all blanks before each frame."""
    return torch.nn.functional.pad(blank.cumsum(dim=1), (0, 0, 1, 0))


def single_log_likelihoods(first: Tensor, after: Tensor, inside: Tensor) -> Tensor:
    """float [n, C]: log P of each string of one token, in plain operators that ONNX has.

    `first` [n, T, C + 1] are the log-probabilities before any token (the blank last), `after` [n, T, C] those of
    a blank once token c was said; `inside` [n, T] is 1 for the row's own frames and 0 behind them.
    """
    blank = first[:, :, -1] * inside
    so_far = blank.cumsum(dim=1) - blank
    rest = after * inside[:, :, None]
    to_come = rest.sum(dim=1, keepdim=True) - rest.cumsum(dim=1) + rest
    paths = so_far[:, :, None] + first[:, :, :-1] + to_come
    return torch.logsumexp(paths + (1 - inside)[:, :, None] * NEVER, dim=1)
