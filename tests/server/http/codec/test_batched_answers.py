"""Answers that are put together for a whole batch are those that each request would get alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from server.http.codec.declared import WantedOutput
from server.http.codec.oip.response import KEPT_FORMS, encode_answer
from server.http.codec.reply import HEADER_LENGTH
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature
from server.serving.batching.rows import Outputs, Rows
from tests.server.http.standin import digits, signature, softmax_model

ROWS = 5
IMAGES = {"image": np.random.default_rng(3).random((ROWS, 8, 8), np.float32)}
NAMES = ("probabilities", "label", "confidence", "members")


def wanted_of(sign: Signature, names: tuple[str, ...], binary: tuple[bool, ...]) -> tuple[WantedOutput, ...]:
    return tuple(WantedOutput(sign.outputs[name], each) for name, each in zip(names, binary, strict=True))


@pytest.mark.parametrize("names", [(name,) for name in NAMES] + list(itertools.permutations(NAMES, 2)) + [NAMES])
def test_a_row_of_a_batch_is_answered_as_it_would_be_alone(names: tuple[str, ...]) -> None:
    sign = signature(digits())
    computed = softmax_model(IMAGES, 1)
    computed["label"][2] = "ßx%b%"  # longer in bytes than in letters, and what a template must not read
    for binary in itertools.product((False, True), repeat=len(names)):
        request = InferRequest({}, 1, names, wanted_of(sign, names, binary))
        whole = Outputs(computed)
        for row in range(ROWS):
            together = encode_answer(request, Rows(whole, names, row, row + 1), sign)
            alone = encode_answer(request, {name: computed[name][row : row + 1] for name in names}, sign)
            assert together == alone
            assert any(binary) == (HEADER_LENGTH in dict(together.headers))


def test_what_is_kept_of_answers_is_bounded() -> None:
    sign = signature(digits())
    whole = Outputs(softmax_model(IMAGES, 1))
    for _ in range(3 * KEPT_FORMS):
        request = InferRequest({}, 1, ("label",), wanted_of(sign, ("label",), (True,)))
        encode_answer(request, Rows(whole, ("label",), 0, 1), sign)
        assert len(sign.forms) <= KEPT_FORMS
