"""Whatever is wrong with a request is its own: in a batch it gets what it would get alone, and so do the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ExtraFailed, InvalidTensor, QuorumLost, ServerError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Feeds
from server.serving.batching.batch import Entry, Outcome, Part
from server.serving.batching.isolation import NOBODY, compute
from tests.graphs import raising_above, softmax_linear
from tests.server.runtime.answer.test_tokenizers import load as load_texts
from tests.server.runtime.loading import load
from tests.side_models import W, detector, distance, extra, publish_with, tokens
from tests.texts import bag, publish_texts, strings, word_level

EXTRA, DETECTOR, MEMBER = 4.0, 6.0, 8.0
"""Above this first feature the extra `risky`, the detector `brittle` and the member `m1` raise for the whole batch."""
LEADS = (0.0, 1.0, 5.0, 7.0, 9.0)
WISHES = (
    ("probabilities",), ("label", "ood_score"), ("in_distribution",), ("risky",), ("transcript", "risky"),
    ("label", "transcript"), ("members", "ood_score", "risky"),
)  # fmt: skip
WEIGHTS = np.random.default_rng(2).normal(size=(3, 4))


def raising(threshold: float, weights: object) -> bytes:
    return raising_above(threshold, np.asarray(weights))


@pytest.fixture(scope="module", params=["sequential", "merged"])
def ensemble(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[LoadedEnsemble]:
    root: Path = tmp_path_factory.mktemp("models")
    near, brittle, words = distance(), raising(DETECTOR, np.zeros((3, 1))), tokens()
    risky = raising(EXTRA, np.zeros((3, 1)))
    publish_with(
        root,
        [(detector("near", near), near), (detector("brittle", brittle, "y"), brittle)],
        [
            (extra("transcript", words, "tokens"), words),
            (extra("risky", risky, "y", datatype="FP32", shape=(-1, 1)), risky),
        ],
        members={"m0": softmax_linear(W[0]), "m1": raising(MEMBER, WEIGHTS)},
        ood_threshold=0.7,
        quorum=1,
    )
    opened = load(root, SessionPool(), RuntimeOptions(cores=1, plan=request.param))
    yield opened
    opened.close()


def part(feeds: Feeds, outputs: Collection[str]) -> Part:
    rows = len(next(iter(feeds.values())))
    entry = Entry(feeds, rows, outputs, 1e9, asyncio.Future(loop=LOOP), 0.0)
    return Part(entry, 0, 0, rows, rows)


LOOP = asyncio.new_event_loop()


def question(leads: Sequence[float], outputs: Collection[str]) -> Part:
    x = np.zeros((len(leads), 3), np.float32)
    x[:, 0] = leads
    x[:, 1] = np.arange(len(leads))
    return part({"x": x}, outputs)


def assert_alike(given: Outcome, alone: Outcome) -> None:
    """The same error in the same words, or the same numbers and the same members missing."""
    if isinstance(alone, ServerError) or isinstance(given, ServerError):
        assert (type(given), str(given)) == (type(alone), str(alone))
        return
    assert given.missing == alone.missing
    for name, array in alone.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(given[name], array, atol=1e-6)
        else:
            assert given[name].tolist() == array.tolist()


def assert_each_as_alone(ensemble: LoadedEnsemble, batches: Sequence[Sequence[Part]]) -> None:
    known_bad: frozenset[str] = NOBODY
    for batch in batches:
        result = compute(ensemble, batch, (), known_bad)
        known_bad = result.helpless
        for each, outcome in zip(batch, result.parts, strict=True):
            assert_alike(outcome, compute(ensemble, [each], (), NOBODY).parts[0])
        assert known_bad == NOBODY, "no model is broken: it was the requests"


QUESTIONS = st.builds(question, st.lists(st.sampled_from(LEADS), min_size=1, max_size=3), st.sampled_from(WISHES))


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(QUESTIONS, min_size=1, max_size=20), min_size=1, max_size=3))
def test_each_request_gets_what_it_would_get_alone(ensemble: LoadedEnsemble, batches: list[list[Part]]) -> None:
    assert_each_as_alone(ensemble, batches)


TEXTS = ("good film", "bad", "strange", "", "a", "好片")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedEnsemble]:
    """Its tokenizer fails for a word that it does not know."""
    root: Path = tmp_path_factory.mktemp("texts")
    strict = word_level(unk=None)
    publish_texts(root, {"bag": bag(), "twice": bag()}, {"tokens": (strict, {})}, texts=("good film", "bad", "好片"))
    opened = load_texts(root, "sequential")
    yield opened
    opened.close()


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=20), min_size=1, max_size=3))
def test_a_text_that_cannot_be_encoded_is_refused_alone(texts: LoadedEnsemble, batches: list[list[str]]) -> None:
    asked = [[part({"text": strings([text])}, ("label", "members")) for text in batch] for batch in batches]
    assert_each_as_alone(texts, asked)


def test_requests_that_do_not_need_what_fails_are_not_run_again(ensemble: LoadedEnsemble) -> None:
    wild = question([5.0], ("risky",))
    calm = [question([float(k % 2)], ("label",)) for k in range(30)]
    result = compute(ensemble, [*calm, wild], (), NOBODY)
    assert isinstance(result.parts[-1], InvalidTensor)
    assert {id(one.whole) for one in result.parts[:-1] if not isinstance(one, ServerError)} == {
        id(result.parts[0].whole)  # type: ignore[union-attr]
    }


def test_one_bad_request_of_many_costs_few_runs(ensemble: LoadedEnsemble, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    predict = ensemble.predict

    def counted(feeds: Feeds, outputs: Collection[str]) -> object:
        runs.append(len(feeds["x"]))
        return predict(feeds, outputs)

    monkeypatch.setattr(ensemble, "predict", counted)
    parts = [question([9.0 if k == 20 else 0.0], ("label",)) for k in range(64)]
    result = compute(ensemble, parts, (), NOBODY)
    missing = [one.missing for one in result.parts if not isinstance(one, ServerError)]
    assert missing == [("m1",) if k == 20 else () for k in range(64)]
    assert len(runs) <= 1 + 8 + 8
    assert result.prediction.failures[0].member == "m1"


def test_two_bad_requests_together_do_not_make_a_model_broken_for_others(ensemble: LoadedEnsemble) -> None:
    bad = [question([5.0], ("risky",)), question([5.0], ("risky",))]
    first = compute(ensemble, bad, (), NOBODY)
    assert all(isinstance(one, InvalidTensor) for one in first.parts)
    second = compute(ensemble, [question([0.0], ("risky",)), *bad], (), first.helpless)
    assert not isinstance(second.parts[0], ServerError)
    assert all(isinstance(one, InvalidTensor) for one in second.parts[1:])


def test_a_broken_extra_is_not_tried_again_for_each_request(
    ensemble: LoadedEnsemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails for a golden row too fails for everybody: one run a batch, until it answers again."""
    sound = ensemble.predict
    runs: list[int] = []

    def broken(feeds: Feeds, outputs: Collection[str]) -> object:
        runs.append(len(feeds["x"]))
        return sound({"x": feeds["x"] + np.array([5.0, 0, 0], np.float32)}, outputs)

    parts = [question([0.0], ("risky",)) for _ in range(4)]
    with monkeypatch.context() as patched:
        patched.setattr(ensemble, "predict", broken)
        first = compute(ensemble, parts, (), NOBODY)
        assert first.helpless == {"risky"}
        runs.clear()
        second = compute(ensemble, parts, (), first.helpless)
        assert runs == [4]
        assert second.helpless == {"risky"}
        third = compute(ensemble, [question([0.0], ("label",))] * 2, (), second.helpless)
        assert third.helpless == {"risky"}, "it was not asked"
        assert all(isinstance(one, (InvalidTensor, ExtraFailed, QuorumLost)) for one in second.parts)
    assert compute(ensemble, parts, (), third.helpless).helpless == NOBODY
