"""The transducer's likelihood against every path written out, and its greedy search against the plain loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from exporter.speech.networks.rnnt import log_likelihood, single_log_likelihoods
from exporter.speech.networks.transcripts import edit_distance, token_error_rate, without_padding
from exporter.speech.networks.transducer import Greedy, Transducer
from tests.exporter.speech.samples import RATE, word

pytestmark = pytest.mark.timeout(120)


def by_paths(blank: Tensor, emit: Tensor) -> float:
    """log Σ over every order of T blanks (the last one last) and U tokens; blank [T, U + 1], emit [T, U]."""
    frames, tokens = emit.shape
    total = 0.0
    for places in itertools.combinations(range(frames - 1 + tokens), tokens):
        t = u = 0
        score = 0.0
        for step in range(frames - 1 + tokens):
            if step in places:
                score, u = score + float(emit[t, u]), u + 1
            else:
                score, t = score + float(blank[t, u]), t + 1
        total += math.exp(score + float(blank[t, u]))
    return math.log(total)


def lattice(generator: torch.Generator, frames: int, tokens: int, rows: int = 1) -> tuple[Tensor, Tensor]:
    """Log-probabilities of blanks and of the string's tokens, as a softmax over them and others gives them."""
    scores = torch.randn(rows, frames, tokens + 1, 4, generator=generator, dtype=torch.float64).log_softmax(dim=-1)
    return scores[..., 0], scores[:, :, :-1, 1]


@pytest.mark.parametrize(("frames", "tokens"), [(1, 0), (1, 2), (4, 0), (2, 1), (5, 3), (6, 4)])
def test_the_likelihood_is_the_sum_over_all_paths(frames: int, tokens: int) -> None:
    blank, emit = lattice(torch.Generator().manual_seed(1), frames, tokens)
    found = log_likelihood(blank, emit, torch.tensor([frames]), torch.tensor([tokens]))
    assert found.item() == pytest.approx(by_paths(blank[0], emit[0]), abs=1e-10)


def test_rows_of_other_lengths_do_not_see_what_is_behind_them() -> None:
    blank, emit = lattice(torch.Generator().manual_seed(2), 6, 4, rows=3)
    frames, tokens = torch.tensor([6, 3, 1]), torch.tensor([4, 2, 0])
    found = log_likelihood(blank, emit, frames, tokens)
    for row, (t, u) in enumerate(zip(frames.tolist(), tokens.tolist(), strict=True)):
        assert found[row].item() == pytest.approx(by_paths(blank[row, :t, : u + 1], emit[row, :t, :u]), abs=1e-10)


def test_the_gradient_is_that_of_the_sum() -> None:
    blank, emit = lattice(torch.Generator().manual_seed(3), 4, 2, rows=2)
    lengths = torch.tensor([4, 2]), torch.tensor([2, 1])
    inputs = blank.requires_grad_(), emit.requires_grad_()
    assert torch.autograd.gradcheck(lambda b, e: log_likelihood(b, e, *lengths), inputs)


def test_long_lattices_of_small_probabilities_stay_finite() -> None:
    blank = torch.full((1, 400, 6), -3.0, requires_grad=True)
    emit = torch.full((1, 400, 5), -9.0, requires_grad=True)
    found = log_likelihood(blank, emit, torch.tensor([400]), torch.tensor([5]))
    paths = math.lgamma(405) - math.lgamma(400) - math.lgamma(6)  # C(399 + 5, 5)
    assert found.item() == pytest.approx(paths - 3 * 400 - 9 * 5, abs=1e-6)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert blank.grad is not None
    assert torch.isfinite(blank.grad).all()


@pytest.fixture(scope="module")
def transducer() -> Transducer:
    """Untrained, with weights large enough that transcripts differ in length."""
    torch.manual_seed(5)
    module = Transducer(RATE, 3, 16, 0.0).eval()
    with torch.no_grad():
        module.heard.weight *= 10
        module.joint.weight *= 6
    return module


def sounds() -> Tensor:
    clips = [np.concatenate([word(k % 3, k), word((k + 1) % 3, k)]) for k in range(12)]
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)


@torch.no_grad()
def test_the_classifier_is_the_likelihood_of_each_string_of_one_token(transducer: Transducer) -> None:
    audio = sounds()
    logits = transducer(audio)
    for token in range(3):
        strings = torch.full((len(audio), 1), token)
        alone = transducer.string_log_likelihood(audio, strings, torch.ones(len(audio), dtype=torch.int64))
        assert torch.allclose(logits[:, token].double(), alone, atol=1e-4)


def test_single_likelihoods_are_the_sum_over_all_paths() -> None:
    generator = torch.Generator().manual_seed(7)
    first = torch.randn(1, 5, 4, generator=generator).log_softmax(dim=-1)
    after = torch.randn(1, 5, 3, generator=generator).sigmoid().log()
    found = single_log_likelihoods(first, after, torch.tensor([[1.0, 1, 1, 1, 0]]))
    for token in range(3):
        blank = torch.stack([first[0, :4, 3], after[0, :4, token]], dim=1)
        assert found[0, token].item() == pytest.approx(by_paths(blank, first[0, :4, token : token + 1]), abs=1e-5)


@torch.no_grad()
def searched(module: Transducer, audio: Tensor, most: int) -> list[int]:
    """The greedy search as papers write it: frame by frame, until a blank, for one clip [T]."""
    heard, length = module.encode(audio[None])
    state = module.start(heard)
    found: list[int] = []
    for t in range(int(length)):
        while len(found) < most:
            token = int(module.log_probabilities(heard[:, t : t + 1], module.said(state)).argmax())
            if token == module.columns:
                break
            found.append(token)
            state = module.cell(module.tokens(torch.tensor([token])), state)
    return found


@torch.no_grad()
def test_the_search_over_all_frames_at_once_is_the_plain_loop(transducer: Transducer) -> None:
    audio = sounds()
    found = without_padding(Greedy(transducer, 8)(audio).numpy())
    expected = [searched(transducer, row, 8) for row in audio]
    assert found == expected
    assert len({len(tokens) for tokens in expected}) > 1


@torch.no_grad()
def test_a_transcript_stops_at_its_longest(transducer: Transducer) -> None:
    audio = sounds()
    short, long_ = Greedy(transducer, 2)(audio), Greedy(transducer, 8)(audio)
    assert torch.equal(short, long_[:, :2])


def test_errors_are_insertions_deletions_and_substitutions() -> None:
    assert edit_distance([1, 2, 3], [1, 2, 3]) == 0
    assert edit_distance([], [1, 2]) == 2
    assert edit_distance([1, 9, 3, 4], [1, 2, 3]) == 2
    assert token_error_rate([[1, 2], [3]], [[1, 2, 2], [3]]) == 0.25
    assert without_padding(np.array([[4, 0, -1, -1], [-1, -1, -1, -1]])) == [[4, 0], []]
