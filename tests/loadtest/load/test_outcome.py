"""Each answer falls into the class that the report names."""

from __future__ import annotations

import pytest

from loadtest.load.outcome import Outcome, explain, judge
from loadtest.load.wire import Reply
from tests.loadtest.scripted_server import Answer


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (204, Outcome.SERVER_ERROR),
        (302, Outcome.CLIENT_ERROR),
        (400, Outcome.CLIENT_ERROR),
        (404, Outcome.CLIENT_ERROR),
        (413, Outcome.CLIENT_ERROR),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.SERVER_ERROR),
        (502, Outcome.SERVER_ERROR),
        (503, Outcome.REFUSED),
        (504, Outcome.DEADLINE),
    ],
)
def test_a_status_has_its_class(status: int, expected: Outcome) -> None:
    assert judge(Reply(status, b'{"error": "no"}', None)) == (expected, 0)


def test_an_answer_names_its_version() -> None:
    assert judge(Reply(200, Answer(version="17").content(), None)) == (Outcome.OK, 17)


def test_an_answer_with_missing_members_is_degraded() -> None:
    assert judge(Reply(200, Answer(version="3", degraded=True).content(), None)) == (Outcome.DEGRADED, 3)


def test_only_the_json_part_of_a_binary_answer_is_read() -> None:
    head = Answer(version="5").content()
    assert judge(Reply(200, head + b"\xff\xfe\x00", len(head))) == (Outcome.OK, 5)


def test_a_version_that_is_no_number_counts_as_unknown() -> None:
    assert judge(Reply(200, Answer(version="blue").content(), None)) == (Outcome.OK, 0)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"model_version": "1"}', b'{"outputs": [], "model_version": 1}']
)
def test_a_200_that_is_no_answer_is_a_server_error(body: bytes) -> None:
    assert judge(Reply(200, body, None)) == (Outcome.SERVER_ERROR, 0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": "queue of \\n 1024 rows is full"}', "503: queue of 1024 rows is full"),
        (b"<html>\nbad gateway</html>", "503: <html> bad gateway</html>"),
        (b"[1]", "503: [1]"),
        (b"\xff" * 1000, "503: " + "\ufffd" * 200),
    ],
)
def test_a_failed_answer_is_explained_in_one_line(body: bytes, expected: str) -> None:
    assert explain(Reply(503, body, None)) == expected
