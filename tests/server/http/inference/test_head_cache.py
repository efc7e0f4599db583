"""Heads that were parsed before stand for nothing but themselves."""

from __future__ import annotations

import pytest

from server.http.codec.call import Call, Target
from server.http.inference.head_cache import KEPT, LONGEST, HeadCache, split

CALL = Call("v2", Target("digits"))
HEAD = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\nAccept: */*"


def whole(head: bytes, body: bytes = b"12345") -> bytes:
    return head + b"\r\n\r\n" + body


def known(*heads: bytes) -> HeadCache:
    made = HeadCache()
    for head in heads:
        made.add(split(whole(head))[0], CALL)
    return made


def test_the_digits_of_the_content_length_are_cut_out() -> None:
    head, digits, body = split(whole(HEAD % 5))
    assert (digits, body) == (b"5", b"12345")
    assert b"".join(head) == (HEAD % 5).replace(b"\r\nContent-Length: 5\r\n", b"")
    assert split(whole(HEAD % 77))[0] == head


@pytest.mark.parametrize("spelled", [b"Content-Length: ", b"content-length: "])
def test_both_usual_spellings_are_found(spelled: bytes) -> None:
    assert split(whole((HEAD % 5).replace(b"Content-Length: ", spelled)))[1] == b"5"


@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n", b"\r\n\r\n"],
)
def test_what_is_no_whole_head_is_known_to_nobody(data: bytes) -> None:
    head, digits, _ = split(data)
    assert not digits
    assert known(HEAD % 5).get(head) is None


@pytest.mark.parametrize(
    "other",
    [
        b"X: 1\r\nContent-Length: 9",
        b"X: 1\r\ncontent-length: 9",
        b"X: 1\r\nCONTENT-LENGTH: 9",
        b"X: 1\r\nContent-Length : 9",
    ],
)
def test_a_head_with_a_second_length_is_not_kept(other: bytes) -> None:
    assert not known((HEAD % 5) + b"\r\n" + other)
    assert not known(HEAD.replace(b"Host: here", other) % 5)


def test_a_length_in_anothers_value_is_not_taken_for_the_length() -> None:
    made = known(b"POST / HTTP/1.1\r\nX: Content-Length: 7\r\nContent-Length: 5")
    (head,) = made
    assert b"Content-Length: 7" in head[0]
    _, digits, _ = split(whole(b"POST / HTTP/1.1\r\nX: Content-Length: 9\r\nContent-Length: 5"))
    assert digits == b"5"
    assert split(whole(b"POST / HTTP/1.1\r\nInference-Header-Content-Length: 3\r\nContent-Length: 5"))[1] == b"5"


def test_long_heads_are_not_kept_and_many_do_not_stay() -> None:
    assert not known(HEAD % 5 + b"\r\nX: " + b"a" * LONGEST)
    made = known(*(HEAD % 5 + b"\r\nX: %d" % number for number in range(2 * KEPT)))
    assert 0 < len(made) <= KEPT
