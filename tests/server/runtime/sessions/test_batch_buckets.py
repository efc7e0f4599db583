"""Batches padded to a few sizes: what goes in, what comes out, and that nobody sees the padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repo import Provider
from server.runtime.datatypes import Array, Feeds
from server.runtime.sessions.batch_buckets import Bucketed, Buckets, padded
from server.runtime.sessions.session import RunError
from tests.graphs import keyword, linear, raising_above, softmax_linear
from tests.repositories import opened

W = np.random.default_rng(0).normal(size=(3, 4))


class Counting:
    """y = 2 · x, and the rows of every run."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, outputs: list[str], feeds: Feeds, options: None = None, /) -> list[Array]:
        self.rows.append(len(feeds["x"]))
        return [2 * feeds["x"] for _ in outputs]


@pytest.mark.parametrize(
    ("sizes", "rows", "size"),
    [((), 1, 1), ((), 2, 2), ((), 3, 4), ((), 64, 64), ((), 65, 128), ((1, 8, 24), 1, 1), ((1, 8, 24), 9, 24)],
)
def test_the_smallest_size_that_holds_the_rows(sizes: tuple[int, ...], rows: int, size: int) -> None:
    assert Buckets(sizes).fitting(rows) == size


@pytest.mark.parametrize("sizes", [(0, 1), (-1,), (4, 4), (8, 1)])
def test_sizes_that_do_not_ascend_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not ascend from at least 1"):
        Buckets(sizes)


@settings(deadline=None)
@given(rows=st.integers(1, 70), sizes=st.sets(st.integers(1, 40), max_size=4))
def test_any_number_of_rows_comes_back_as_it_went_in_and_only_the_sizes_are_run(rows: int, sizes: set[int]) -> None:
    run, buckets = Counting(), Buckets(tuple(sorted(sizes)))
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    y, again = Bucketed(run, buckets)(["y", "again"], {"x": x})
    np.testing.assert_array_equal(y, 2 * x)
    np.testing.assert_array_equal(again, 2 * x)
    allowed = sizes or {1 << power for power in range(8)}
    assert set(run.rows) <= allowed
    assert len(run.rows) == (-(-rows // max(sizes)) if sizes else 1)


def test_padding_repeats_the_last_row_and_leaves_the_batch_alone() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    larger = padded(x, 4)
    assert larger.dtype == x.dtype
    assert larger.tolist() == [[1, 2], [3, 4], [3, 4], [3, 4]]
    larger[:] = 0
    assert x.tolist() == [[1, 2], [3, 4]]


def test_an_output_without_a_row_for_each_is_passed_on_for_the_alignment_to_judge() -> None:
    y = np.zeros((7, 2), np.float32)
    assert Bucketed(lambda outputs, feeds, options: [y], Buckets((8,)))(["y"], {"x": np.zeros((3, 1))})[0] is y


def cpu(**options: str) -> tuple[Provider, ...]:
    return (Provider(name="CPUExecutionProvider", options=options),)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("buckets", ["powers", "4", "1,6"])
def test_a_session_gives_what_it_gives_without_buckets(rows: int, buckets: str) -> None:
    x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    session, plain = opened(softmax_linear(W), providers=cpu(tutti_batch_buckets=buckets)), opened(softmax_linear(W))
    (y,), (expected,) = (each.run(["y"], {"x": x}) for each in (session, plain))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_strings_are_padded_too() -> None:
    session = opened(keyword(["yes", "no"], 3), providers=cpu(tutti_batch_buckets="8"))
    (y,) = session.run(["y"], {"text": np.array(["no", "?", "yes"], np.object_)})
    assert y.argmax(axis=1).tolist() == [1, 0, 0]
    assert y.shape == (3, 3)


def test_padding_does_not_make_a_good_batch_fail_and_a_bad_one_still_does() -> None:
    """Zeros would: a model may refuse them. A copy of a row that is there cannot."""
    session = opened(raising_above(-1.0, W), providers=cpu(tutti_batch_buckets="4"))
    x = np.full((3, 3), -2.0, np.float32)
    assert session.run(["y"], {"x": x})[0].shape == (3, 4)
    with pytest.raises(RunError, match="Gather"):
        session.run(["y"], {"x": -x})


def test_an_input_that_does_not_fit_is_still_the_inputs_fault() -> None:
    session = opened(linear(W), providers=cpu(tutti_batch_buckets="powers"))
    with pytest.raises(RunError) as caught:
        session.run(["y"], {"x": np.zeros((3, 5), np.float32)})
    assert caught.value.reason == "invalid_input"
