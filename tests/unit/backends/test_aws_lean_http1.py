"""Answers of HTTP/1.1 as the lean way reads them: in pieces of any size, framed in any way that is right."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.clouds.aws.driver.lean.http1 import MOST_BODY, MOST_HEAD, Answer, Malformed, Reader


def read(data: bytes, *cuts: int, tunnel: bool = False) -> Answer | None:
    """Feed data in pieces that end at the cuts."""
    reader, at = Reader(tunnel=tunnel), 0
    for cut in (*sorted(cuts), len(data)):
        if cut > at:
            answer = reader.feed(data[at:cut])
            at = cut
            if answer is not None:
                return answer
    return reader.end()


def chunked(body: bytes, sizes: list[int]) -> bytes:
    found, at = b"", 0
    for size in sizes:
        part = body[at : at + size]
        if part:
            found += b"%x;name=value\r\n%s\r\n" % (len(part), part)
            at += len(part)
    if at < len(body):
        found += b"%X\r\n%s\r\n" % (len(body) - at, body[at:])
    return found + b"0\r\nTrailer: x\r\n\r\n"


framings = st.sampled_from(["length", "chunks", "end"])


@given(
    st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    st.binary(max_size=60),
    framings,
    st.lists(st.integers(1, 9), max_size=5),
    st.lists(st.integers(1, 260), max_size=8),
    st.booleans(),
)
def test_an_answer_is_the_same_however_it_is_framed_and_cut(
    status: int, body: bytes, framing: str, sizes: list[int], cuts: list[int], interim: bool
) -> None:
    head = b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n" if interim else b""
    head += b"HTTP/1.1 %d \r\nx-amzn-RequestId:  a b \r\nSet: 1\r\nset: 2\r\n" % status
    data = {
        "length": head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, sizes),
        "end": head + b"\r\n" + body,
    }[framing]
    answer = read(data, *(cut for cut in cuts if cut < len(data)))
    assert answer is not None
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["x-amzn-requestid"] == "a b"
    assert answer.headers["set"] == "1, 2"
    assert answer.reusable is (framing != "end")


@given(st.binary(max_size=60), framings, st.integers(0, 200))
def test_an_answer_that_was_cut_off_is_none(body: bytes, framing: str, cut: int) -> None:
    data = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, [3, 4]),
        "end": b"HTTP/1.1 200 OK\r\n\r\n",
    }[framing]
    assert read(data[: min(cut, len(data) - 1)]) is None


@given(st.binary(max_size=200), st.lists(st.integers(1, 200), max_size=4))
def test_anything_else_is_malformed_and_never_an_error_of_another_kind(data: bytes, cuts: list[int]) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        whole = prefix + data
        with contextlib.suppress(Malformed):
            read(whole, *(cut for cut in cuts if cut < len(whole)))


@pytest.mark.parametrize(
    ("lines", "reusable"),
    [
        ("HTTP/1.1 200 OK", True),
        ("HTTP/1.1 200 OK|Connection: close", False),
        ("HTTP/1.1 200 OK|Connection: Keep-Alive, CLOSE", False),
        ("HTTP/1.0 200 OK", False),
        ("HTTP/1.0 200 OK|Connection: keep-alive", True),
    ],
)
def test_a_connection_is_kept_as_both_sides_say(lines: str, reusable: bool) -> None:
    answer = read("\r\n".join([*lines.split("|"), "Content-Length: 2", "", "ok"]).encode())
    assert answer is not None
    assert answer.reusable is reusable


def test_what_follows_an_answer_unasked_makes_its_connection_unfit() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n")
    assert answer is not None
    assert (answer.body, answer.reusable) == (b"ok", False)


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body_whatever_they_say(status: int) -> None:
    answer = read(b"HTTP/1.1 %d X\r\nContent-Length: 7\r\n\r\n" % status)
    assert answer is not None
    assert (answer.body, answer.reusable) == (b"", True)


def test_what_a_proxy_connects_to_begins_behind_its_head() -> None:
    answer = read(b"HTTP/1.1 200 Connection established\r\n\r\n", tunnel=True)
    assert answer is not None
    assert answer.reusable
    refused = read(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", tunnel=True)
    assert refused is not None
    assert refused.body == b"no"


def test_a_length_and_chunks_are_read_by_chunks_and_the_connection_is_unfit() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert answer is not None
    assert (answer.body, answer.reusable) == (b"ok", False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"<html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\r\n folded: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSpace : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nok" % (MOST_BODY + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 100,
        b"x" * (MOST_HEAD + 1),
    ],
)
def test_what_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)
