"""An RNN transducer (Graves 2012): an encoder of the sound, a prediction network of the tokens so far, their joint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.speech.networks.masking import Masking
from exporter.speech.networks.mel import BANDS, LogMel, valid
from exporter.speech.networks.rnnt import log_likelihood, single_log_likelihoods
from exporter.speech.networks.timing import BothWays, halved

END = -1
"""What a transcript is padded with."""


class Transducer(nn.Module):
    """Samples [n, T] → log P of each string of one token, float32 [n, C]: logits of a classifier.

    Tokens are the classes; number C is the blank, and what the prediction network sees before the first token.
    """

    def __init__(self, sample_rate: int, columns: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.columns = columns
        self.mel = LogMel(sample_rate)
        self.masking = Masking(bands=8, share=0.05)
        self.first, self.second = _halving(1, hidden // 4), _halving(hidden // 4, hidden // 4)
        self.narrow = nn.Linear(hidden // 4 * (BANDS // 4), hidden)
        self.reader = BothWays(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.heard = nn.Linear(2 * hidden, hidden)
        self.tokens = nn.Embedding(columns + 1, hidden // 2)
        self.cell = nn.GRUCell(hidden // 2, hidden)
        self.said = nn.Linear(hidden, hidden)
        self.joint = nn.Linear(hidden, columns + 1)

    def forward(self, audio: Tensor) -> Tensor:
        heard, length = self.encode(audio)
        state = self.start(heard)
        first = self.log_probabilities(heard, self.said(state))
        every = torch.arange(self.columns, device=audio.device)
        after = self.cell(self.tokens(every), state[:1].expand(self.columns, -1))
        blanks = self.log_probabilities(heard[:, :, None], self.said(after))[:, :, :, -1]
        return single_log_likelihoods(first, blanks, valid(length, heard))

    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """What is heard, [n, F / 4, hidden], and how many of its frames (40 ms each) are valid, int64 [n]."""
        frames, length = self.mel(audio)
        picture = self.masking(frames, length)[:, None]
        picture, length = self.first(picture), halved(length)
        picture = picture * valid(length, picture.transpose(1, 2))[:, None, :, None]
        picture, length = self.second(picture), halved(length)
        states = self.narrow(picture.transpose(1, 2).flatten(2)).relu()
        return self.heard(self.dropout(self.reader(states, length))), length

    def start(self, heard: Tensor) -> Tensor:
        """The prediction network's state before the first token, [n, hidden]."""
        empty = heard.new_zeros(heard.shape[0], self.cell.hidden_size)
        begin = torch.full((heard.shape[0],), self.columns, dtype=torch.int64, device=heard.device)
        found: Tensor = self.cell(self.tokens(begin), empty)
        return found

    def log_probabilities(self, heard: Tensor, said: Tensor) -> Tensor:
        """[n, T, …, C + 1] of what is heard [n, T, …, hidden] and said [n, hidden], or both as they broadcast."""
        if said.dim() == 2 and heard.dim() == 3:
            said = said[:, None]
        found: Tensor = self.joint(torch.tanh(heard + said)).log_softmax(dim=-1)
        return found

    def string_log_likelihood(self, audio: Tensor, strings: Tensor, tokens: Tensor) -> Tensor:
        """float64 [n]: log P of strings int64 [n, U], of which `tokens` int64 [n] are valid (the rest any token)."""
        heard, length = self.encode(audio)
        states = [self.start(heard)]
        for u in range(strings.shape[1]):
            states.append(self.cell(self.tokens(strings[:, u]), states[-1]))
        said = self.said(torch.stack(states, dim=1))
        lattice = self.log_probabilities(heard[:, :, None], said[:, None])
        index = strings[:, None, :, None].expand(-1, lattice.shape[1], -1, 1)
        emit = lattice[:, :, :-1].gather(3, index)[..., 0]
        return log_likelihood(lattice[..., -1], emit, length, tokens)


def _halving(given: int, made: int) -> nn.Sequential:
    convolution = nn.Conv2d(given, made, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(made), nn.ReLU())


class Greedy(nn.Module):
    """Samples [n, T] → transcript int64 [n, tokens], padded with -1.

    The greedy search, one step per token: the prediction network only moves when a token is said, so the next token
    is the first one that wins over the blank from the present frame on, and all frames are looked at in one go.
    """

    def __init__(self, transducer: Transducer, tokens: int) -> None:
        super().__init__()
        self.transducer, self.count = transducer, tokens

    def forward(self, audio: Tensor) -> Tensor:
        net = self.transducer
        heard, length = net.encode(audio)
        place = torch.arange(heard.shape[1], device=audio.device)[None, :]
        frame = torch.zeros_like(length)
        state = net.start(heard)
        found = []
        for _ in range(self.count):
            best = net.log_probabilities(heard, net.said(state)).argmax(dim=2)
            open_ = (best != net.columns) & (place >= frame[:, None]) & (place < length[:, None])
            says = open_.any(dim=1)
            frame = torch.where(open_, place, heard.shape[1]).amin(dim=1)
            token = best.gather(1, frame[:, None].clamp(max=heard.shape[1] - 1))[:, 0].clamp(max=net.columns - 1)
            found.append(torch.where(says, token, END))
            # Without a token the frame is behind the last one: nothing is said from then on.
            state = torch.where(says[:, None], net.cell(net.tokens(token), state), state)
        return torch.stack(found, dim=1)
