"""Networks that train jointly: what they are trained for, that they do not disturb each other, how they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.members.base import Training
from exporter.members.torch_member import cross_entropy
from exporter.members.training_loop import fit
from exporter.optimisation.joint.group import Together, train_together
from exporter.optimisation.joint.objective import coupling, fused_log_probabilities
from exporter.optimisation.loop import Exchange, Loop
from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.run import EpochDone, Run, seeded, training_in
from exporter.optimisation.spec import Parallel
from exporter.reporting.diversity import correlations
from exporter.text.families.training import TextTraining
from exporter.text.networks.fitting import fit_texts
from exporter.threads import one_thread

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("on_one_thread")]

FEATURES, CLASSES = 6, 3
HIDDEN = {"narrow": 4, "middle": 12, "wide": 32}
"""Three perceptrons of unlike size."""


def rows(seed: int, count: int = 240) -> tuple[Tensor, Tensor]:
    """Clouds that overlap: float32 [n, 6], int64 [n]."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % CLASSES
    centres = 1.2 * torch.eye(CLASSES, FEATURES)
    return centres[y] + torch.randn(count, FEATURES, generator=generator), y


X, Y = rows(1)
FRESH, FRESH_Y = rows(2, 900)


class Perceptron(nn.Module):
    """[n, 6] → logits [n, 3], with dropout."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def work(
    name: str,
    run: Run,
    *,
    epochs: int = 6,
    rate: float = 0.02,
    slow_s: float = 0.0,
    average: Literal["ema", "swa"] | None = None,
) -> nn.Module:
    """A trainer as those of the families are: it builds under its seed, and states a problem."""
    seed = HIDDEN[name]
    training = Training(epochs=epochs, learning_rate=rate, batch_rows=48, average=average)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        time.sleep(slow_s)
        return cross_entropy(output, target)

    with training_in(run), seeded(seed):
        return fit(Perceptron(HIDDEN[name]), [X], Y, training, loss, seed, answer="logits")


Works = Mapping[str, Callable[[Run], nn.Module]]
WORKS: Works = {name: partial(work, name) for name in HIDDEN}


def together(how: Parallel, works: Works = WORKS) -> Together[nn.Module]:
    return train_together(works, how, {name: Run() for name in works})


def probabilities(networks: Mapping[str, nn.Module], x: Tensor) -> Tensor:
    """[K, n, C]."""
    with torch.no_grad():
        return torch.stack([torch.softmax(network(x), dim=1) for network in networks.values()])


def fused_loss(networks: Mapping[str, nn.Module], x: Tensor, y: Tensor) -> float:
    log_p = probabilities(networks, x).log()
    fused = fused_log_probabilities(log_p, torch.ones(log_p.shape[:2]), "geometric")
    return float(nn.functional.nll_loss(fused, y))


def same(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture(scope="module")
def on_one_thread() -> Iterator[None]:
    """As trainings have it."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def apart(on_one_thread: None) -> dict[str, nn.Module]:
    """Each trained by itself, for as many steps on batches of the same size."""
    return {name: one(Run()) for name, one in WORKS.items()}


@pytest.fixture(scope="module")
def fused_alone(on_one_thread: None) -> Together[nn.Module]:
    """Trained for the fused answer alone."""
    return together(Parallel(joint="synchronous", independence=0.0))


def test_members_train_jointly_to_the_same_bits_each_time(fused_alone: Together[nn.Module]) -> None:
    before = torch.get_rng_state()
    again = together(Parallel(joint="synchronous", independence=0.0))
    assert again.joined == tuple(HIDDEN)
    assert all(same(again.made[name], fused_alone.made[name]) for name in HIDDEN)
    assert torch.equal(torch.get_rng_state(), before), "torch's global generator is as it was"


class _FirstsBatches(Exchange):
    """One worker alone, on the batches that the group's first member draws."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(HIDDEN["narrow"])

    def batches(self, loop: Loop) -> Iterator[Batch]:
        for index in loop.problem.epoch(self.generator):
            yield loop.problem.prepare(index, loop.problem.generator)


@pytest.mark.parametrize("name", list(HIDDEN))
def test_members_that_only_mind_their_own_loss_are_as_those_trained_apart_on_the_same_batches(
    name: str, apart: dict[str, nn.Module]
) -> None:
    """Dropout too: each draws from a randomness of its own."""
    joint = together(Parallel(joint="synchronous", independence=1.0)).made
    alone = work(name, Run(exchange=_FirstsBatches()))
    for entry, value in alone.state_dict().items():
        torch.testing.assert_close(joint[name].state_dict()[entry], value, rtol=1e-5, atol=1e-6)
    assert name != "narrow" or same(joint[name], apart[name]), "the first member draws the batches that it would alone"


def test_the_fused_answers_loss_is_lower_than_of_members_trained_apart_in_as_many_steps(
    apart: dict[str, nn.Module], fused_alone: Together[nn.Module]
) -> None:
    assert fused_loss(fused_alone.made, X, Y) < fused_loss(apart, X, Y) - 0.02


def test_negative_correlation_learning_makes_members_err_on_other_rows() -> None:
    """By the distance of each answer from the truth, which is not as coarse as right or wrong."""

    def correlation(weight: float) -> float:
        found = together(Parallel(joint="synchronous", independence=1.0, decorrelation=weight)).made
        missing = 1 - probabilities(found, FRESH)[:, torch.arange(len(FRESH_Y)), FRESH_Y]
        table = correlations(missing.double().numpy())
        pairs = [value for a, row in enumerate(table) for value in row[a + 1 :] if value is not None]
        return sum(pairs) / len(pairs)

    assert correlation(1.0) < correlation(0.0) - 0.02


def test_mutual_learning_brings_answers_nearer_to_each_other(apart: dict[str, nn.Module]) -> None:
    def spread(networks: Mapping[str, nn.Module]) -> float:
        return float(probabilities(networks, FRESH).std(dim=0).mean())

    taught = together(Parallel(joint="synchronous", independence=1.0, mutual=2.0)).made
    assert spread(taught) < 0.9 * spread(apart)


def test_fused_answers_are_of_those_that_are_there() -> None:
    log_p = torch.log_softmax(torch.randn(3, 5, CLASSES, generator=torch.Generator().manual_seed(0)), dim=2)
    present = torch.ones(3, 5)
    present[2, 1:] = 0.0
    p = log_p.exp()
    mean = fused_log_probabilities(log_p, present, "mean").exp()
    torch.testing.assert_close(mean[0], p[:, 0].mean(dim=0))
    torch.testing.assert_close(mean[1:], p[:2, 1:].mean(dim=0))
    geometric = fused_log_probabilities(log_p, present, "geometric").exp()
    product = (p[0] * p[1])[1:].sqrt()
    torch.testing.assert_close(geometric[1:], product / product.sum(dim=1, keepdim=True))


def test_a_member_alone_is_not_pulled_by_answers_that_nobody_has_published() -> None:
    """The shared part of the loss is then its own loss, and no more."""
    log_p = torch.log_softmax(torch.randn(3, 4, CLASSES, generator=torch.Generator().manual_seed(0)), dim=2)
    present = torch.tensor([1.0, 0.0, 0.0])[:, None].expand(3, 4)
    how = Parallel(joint="asynchronous", independence=0.0, mutual=1.0, decorrelation=1.0)
    own = nn.functional.nll_loss(log_p[0], Y[:4])
    torch.testing.assert_close(coupling(log_p, present, Y[:4], how), own)


def test_members_at_their_own_pace_are_never_further_apart_than_told(apart: dict[str, nn.Module]) -> None:
    """The slow one sleeps in each step; who has done `staleness` more than it has to wait."""
    told: list[tuple[str, int]] = []
    works: Works = {**WORKS, "wide": partial(work, "wide", slow_s=0.01)}
    runs = {name: Run(observe=partial(_note, told, name)) for name in works}
    found = train_together(works, Parallel(joint="asynchronous", independence=0.5, staleness=1), runs)
    done = dict.fromkeys(works, 0)
    for name, epoch in told:
        # It began this epoch when the slowest had done `epoch - 1 - staleness` at least; they only went on since.
        assert min(done.values()) >= epoch - 1 - 1
        done[name] = epoch
    assert set(done.values()) == {6}
    assert fused_loss(found.made, X, Y) < fused_loss(apart, X, Y) + 0.05
    assert not _threads()


def _note(told: list[tuple[str, int]], name: str, done: EpochDone) -> None:
    told.append((name, done.epoch))


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("trainer", "joint"))]


@pytest.mark.parametrize("joint", ["synchronous", "asynchronous"])
def test_a_member_that_diverges_ends_the_others_and_is_named(joint: str) -> None:
    works: Works = {**WORKS, "middle": partial(work, "middle", rate=1e30)}
    how = Parallel(joint="synchronous" if joint == "synchronous" else "asynchronous")
    with pytest.raises(
        TrainingError, match=r"^the loss is (nan|inf) of member 'middle' in epoch \d of joint training$"
    ):
        together(how, works)
    assert not _threads()


def test_a_member_that_fails_before_it_states_a_problem_ends_the_others() -> None:
    def fails(run: Run) -> nn.Module:
        raise TrainingError("member 'c': components is 9, 5 rows have no more")

    with pytest.raises(TrainingError, match="components is 9"):
        together(Parallel(joint="synchronous"), {**WORKS, "c": fails})
    assert not _threads()


def test_an_interruption_ends_all() -> None:
    def interrupted(done: EpochDone) -> None:
        raise KeyboardInterrupt

    for joint in ("synchronous", "asynchronous"):
        how = Parallel(joint="synchronous" if joint == "synchronous" else "asynchronous")
        with pytest.raises(KeyboardInterrupt):
            train_together(WORKS, how, {name: Run(observe=interrupted) for name in WORKS})
        assert not _threads()


def _regression(run: Run) -> nn.Module:
    """States a problem without classes."""
    with training_in(run), seeded(9):
        return fit(Perceptron(9), [X], Y, Training(epochs=2), cross_entropy, 9)


def test_who_gives_no_classes_trains_by_itself_and_is_named_where_it_was_asked_for() -> None:
    works = {**WORKS, "other": _regression}
    found = together(Parallel(joint="synchronous"), works)
    assert found.joined == tuple(HIDDEN)
    assert same(found.made["other"], _regression(Run()))
    with pytest.raises(TrainingError, match=r"^training\.members names 'other', whose network gives no logits"):
        together(Parallel(joint="synchronous", members=("narrow", "other")), works)


def test_one_that_can_and_one_that_cannot_are_trained_as_without(apart: dict[str, nn.Module]) -> None:
    found = together(Parallel(joint="synchronous"), {"wide": WORKS["wide"], "other": _regression})
    assert found.joined == ()
    assert same(found.made["wide"], apart["wide"])


def test_weights_are_averaged_and_curves_drawn_as_of_one_alone() -> None:
    works: Works = {name: partial(work, name, average="swa") for name in HIDDEN}
    runs = {name: Run() for name in HIDDEN}
    found = train_together(works, Parallel(joint="synchronous", independence=1.0), runs)
    alone = Run()
    assert same(found.made["narrow"], works["narrow"](alone))
    assert runs["narrow"].curves == alone.curves
    assert [len(run.curves[0].points) for run in runs.values()] == [6, 6, 6]


class _Stated(Run):
    """Keeps the problem that a trainer states, and trains nothing."""

    problem: Problem | None = None

    def train(self, problem: Problem) -> None:
        self.problem = problem


def test_a_text_network_that_takes_some_of_the_rows_means_the_same_rows_as_the_others() -> None:
    ids = torch.randint(2, 40, (90, 7), generator=torch.Generator().manual_seed(3))
    run = _Stated()
    with training_in(run):
        fit_texts(Perceptron(4), ids, Y[:90], TextTraining(most_rows=40, batch_rows=8, word_dropout=0.0), 5)
    problem = run.problem
    assert problem is not None
    batches = list(problem.epoch(problem.generator))
    assert len(set(torch.cat(batches).tolist())) == 40
    for index in batches:
        found, target = problem.prepare(index, problem.generator)
        assert torch.equal(found, ids[index])
        assert torch.equal(target, Y[index])
    assert problem.rows == 90


def test_what_is_kept_and_told_of_each_is_as_of_one_alone() -> None:
    runs = {name: Run() for name in WORKS}
    found = train_together(WORKS, Parallel(joint="synchronous", epochs=2), runs)
    for name, run in runs.items():
        (state,) = run.kept
        assert all(torch.equal(state[entry], value) for entry, value in found.made[name].state_dict().items())
