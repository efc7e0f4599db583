"""No network's answer hangs on padding or on the other rows of its batch, in rows of tokens and in windows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from exporter.text.networks.bag import BagNetwork, Features
from exporter.text.networks.classifier import Classifier, Encoder
from exporter.text.networks.convolution import ConvolutionEncoder
from exporter.text.networks.masked import max_of, mean_of, reversed_ids
from exporter.text.networks.recurrent import RecurrentEncoder
from exporter.text.networks.recursive import RecursiveEncoder
from exporter.text.networks.transformer import TransformerEncoder

VOCABULARY, LONGEST, OVERLAP = 40, 16, 3

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "cnn": lambda: ConvolutionEncoder(VOCABULARY, 8, 6, (1, 3, 5), 0.1),
    "gru": lambda: RecurrentEncoder("gru", VOCABULARY, 8, 6, 0.1),
    "lstm": lambda: RecurrentEncoder("lstm", VOCABULARY, 8, 6, 0.1),
    "recursive": lambda: RecursiveEncoder(VOCABULARY, 8, 4, 0.1),
    "bert": lambda: TransformerEncoder(VOCABULARY, 8, 2, 2, LONGEST, 0.1, causal=False),
    "gpt": lambda: TransformerEncoder(VOCABULARY, 8, 2, 2, LONGEST, 0.1, causal=True),
}


def network(name: str, *, windows: bool) -> nn.Module:
    torch.manual_seed(0)
    if name == "linear":
        features = Features(VOCABULARY, 32, OVERLAP if windows else 0)
        idf, coefficients = torch.rand(features.count) + 1, torch.randn(features.count, 3)
        idf[0] = coefficients[0] = 0.0
        return BagNetwork(features, idf, coefficients, torch.randn(3)).eval()
    return Classifier(ENCODERS[name](), 3, 0.1, windows=windows).eval()


def rows_of(*lengths: int, width: int = LONGEST) -> Tensor:
    """Ids [n, width] with so many tokens in each row."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, VOCABULARY, (len(lengths), width), generator=generator)
    return ids * (torch.arange(width)[None] < torch.tensor(lengths)[:, None])


NAMES = ["linear", *ENCODERS]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_more_padding_and_other_rows_change_nothing(name: str) -> None:
    module = network(name, windows=False)
    ids = rows_of(0, 1, 2, 3, 5, 8, 11)
    together = module(ids)
    assert torch.isfinite(together).all()
    for row, length in enumerate((0, 1, 2, 3, 5, 8, 11)):
        alone = module(ids[row : row + 1, : max(1, length)])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_more_windows_and_padding_change_nothing(name: str) -> None:
    module = network(name, windows=True)
    windows = torch.zeros(3, 4, LONGEST, dtype=torch.int64)
    windows[0, 0] = rows_of(7)[0]
    windows[1, :3] = rows_of(LONGEST, LONGEST, 5)
    together = module(windows)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(module(windows[:1, :1, :7])[0], together[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(module(windows[1:2, :3])[0], together[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_each_token_counts(name: str) -> None:
    module = network(name, windows=False)
    ids = rows_of(6)
    for place in range(6):
        changed = ids.clone()
        changed[0, place] = ids[0, place] % (VOCABULARY - 1) + 1
        assert not torch.allclose(module(changed), module(ids), atol=1e-6), f"token {place} has no say"


@torch.no_grad()
def test_training_and_evaluation_build_the_same_tree() -> None:
    encoder = RecursiveEncoder(VOCABULARY, 8, 4, dropout=0.0)
    ids = rows_of(1, 4, 5, width=5)
    encoder.eval()
    expected = encoder(ids)
    encoder.train()  # as deep as the batch needs, in place of as deep as any could
    torch.testing.assert_close(encoder(ids), expected)


@torch.no_grad()
def test_a_causal_transformer_does_not_look_ahead() -> None:
    encoder = TransformerEncoder(VOCABULARY, 8, 1, 2, LONGEST, 0.0, causal=True).eval()
    ids = rows_of(6)
    torch.testing.assert_close(encoder(ids[:, :6]), encoder(ids))
    shorter = ids.clone()
    shorter[0, 4:] = 0
    torch.testing.assert_close(encoder(shorter), encoder(ids[:, :4]))


def test_reading_backwards_keeps_the_padding_behind() -> None:
    ids = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]])
    assert reversed_ids(ids, torch.tensor([3, 1, 0])).tolist() == [[3, 2, 1, 0], [4, 0, 0, 0], [0, 0, 0, 0]]


def test_pooling_passes_over_padding() -> None:
    states = torch.tensor([[[-1.0], [-3.0], [9.0]], [[5.0], [5.0], [5.0]]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert max_of(states, mask).tolist() == [[-1.0], [0.0]]
    assert mean_of(states, mask).tolist() == [[-2.0], [0.0]]


def test_windows_that_overlap_count_each_token_and_each_pair_once() -> None:
    text = list(range(1, 12))  # eleven tokens in windows of five from every third
    windows = torch.zeros(1, 3, 5, dtype=torch.int64)
    for w in range(3):
        part = torch.tensor(text[w * 3 : w * 3 + 5])
        windows[0, w, : len(part)] = part
    whole = torch.tensor([text])
    counted, expected = Features(VOCABULARY, 1000, 2)(windows), Features(VOCABULARY, 1000, 0)(whole)
    assert sorted(counted[counted > 0].tolist()) == sorted(expected[expected > 0].tolist())
