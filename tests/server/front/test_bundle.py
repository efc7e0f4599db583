"""Bundles: what goes in comes out, however the stream is cut."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.front.bundle import ALIGNMENT, Array, Body, Splitter, array_of, encode
from server.front.faults import EngineFault, error_of, failure_of
from server.front.messages import Tensor

ARRAYS: tuple[Array, ...] = (
    np.arange(6, dtype="<f4").reshape(2, 3),
    np.array([[True], [False]]),
    np.array([2**63 - 1, -1], dtype="<i8"),
    np.array([1.5], dtype="<f2"),
    np.zeros((3, 0), dtype="<f4"),
    np.array([["ä", ""], ["a\0b", "long" * 100]], object),
    np.arange(20, dtype="<f8")[::3],
)
_tensors = msgspec.msgpack.Decoder(list[Tensor])


def bundled(arrays: list[Array]) -> bytes:
    body = Body()
    return encode([body.add(array) for array in arrays], body)


@given(st.lists(st.lists(st.sampled_from(range(len(ARRAYS))), max_size=4), max_size=4), st.data())
def test_arrays_survive_however_the_stream_is_cut(bundles: list[list[int]], data: st.DataObject) -> None:
    sent = b"".join(bundled([ARRAYS[index] for index in indices]) for indices in bundles)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    splitter = Splitter()
    got = [
        [array_of(tensor, body) for tensor in _tensors.decode(head)]
        for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True)
        for head, body in splitter.feed(sent[start:stop])
    ]
    assert [len(arrays) for arrays in got] == [len(indices) for indices in bundles]
    for indices, arrays in zip(bundles, got, strict=True):
        for index, array in zip(indices, arrays, strict=True):
            assert array.dtype == ARRAYS[index].dtype
            assert array.shape == ARRAYS[index].shape
            assert array.tolist() == ARRAYS[index].tolist()


def test_arrays_are_aligned_views_of_what_was_read() -> None:
    sent = bundled([ARRAYS[1], ARRAYS[0], ARRAYS[6]]) + bundled([ARRAYS[6]])
    for head, body in Splitter().feed(sent):
        for tensor in _tensors.decode(head):
            array = array_of(tensor, body)
            assert not array.flags.owndata
            assert array.ctypes.data % ALIGNMENT == 0


def test_every_error_a_request_can_meet_arrives_as_itself() -> None:
    from server import errors

    sent = [
        errors.UnknownEnsemble("a"),
        errors.UnknownVersion("b"),
        errors.NotReady("c"),
        errors.Superseded("d"),
        errors.InvalidTensor("e"),
        errors.DeadlineExceeded("f"),
        errors.Overloaded("g", 2.5),
        errors.QuorumLost("h", ("cnn",)),
    ]
    for error in sent:
        got = error_of(failure_of(7, error))
        assert (type(got), str(got), vars(got)) == (type(error), str(error), vars(error))


def test_an_error_that_nobody_foresaw_stays_one() -> None:
    got = error_of(failure_of(7, ZeroDivisionError("by zero")))
    assert isinstance(got, EngineFault)
    with pytest.raises(EngineFault, match="ZeroDivisionError"):
        raise got
