"""Signatures of the lean way are botocore's: any request, any credentials, any time."""

from __future__ import annotations

import datetime
import string
from typing import Any

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polybus.clouds.aws.driver.lean.sigv4 import Keys, Signer, stamp_of

TOKEN = string.ascii_letters + string.digits + "-_"
text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
names = st.text(TOKEN, min_size=1, max_size=20)
paths = st.lists(st.text(TOKEN + ".~%/ ü", max_size=12), max_size=4).map(lambda parts: "/" + "/".join(parts))
queries = st.lists(st.tuples(names, st.text(TOKEN + "%=.", max_size=12)), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
hosts = st.sampled_from(
    [
        "sqs.eu-west-1.amazonaws.com",
        "vpce-1-2.sqs.us-east-1.vpce.amazonaws.com",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "H.X",
    ]
)
ports = st.sampled_from(["", ":80", ":443", ":4566"])
headers = st.dictionaries(
    st.one_of(
        names,
        st.sampled_from(
            (
                *("Content-Type", "X-Amz-Target", "X-Amz-a", "X-Amz-Date2", "X-Amz-Security-Tokem", "amz-sdk-request"),
                *("x-amzn-query-mode", "User-Agent", "Expect", "Connection", "X-Amzn-Trace-Id", "X-Amz-Security-Tokeo"),
            )
        ),
    ),
    text,
    max_size=6,
)
credentials = st.builds(
    Keys,
    st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=20),
    st.text(string.ascii_letters + string.digits + "/+ü", min_size=1, max_size=40),
    st.one_of(st.none(), st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=80)),
)
times = st.integers(0, 4_102_444_800)


def by_botocore(url: str, given: dict[str, str], body: bytes, keys: Keys, stamp: str, scope: tuple[str, str]) -> str:
    """Return the Authorization that botocore makes."""
    moment = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
    request = AWSRequest("POST", url, headers=given, data=body)
    signer = auth.SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.token), scope[1], scope[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda *_: moment)
        signer.add_auth(request)
    return str(request.headers["Authorization"])


def distinct(given: dict[str, str]) -> dict[str, str]:
    """Leave one of the headers whose names differ in case alone, and those that signing itself sets."""
    own = {"host", "date", "x-amz-date", "x-amz-security-token", "authorization", "x-amz-content-sha256"}
    found = {name.lower(): (name, value) for name, value in given.items() if name.lower() not in own}
    return dict(found.values())


@settings(max_examples=3_000)
@given(
    st.sampled_from(["http", "https"]),
    hosts,
    ports,
    paths,
    queries,
    headers,
    st.binary(max_size=200),
    credentials,
    times,
)
@example("https", "sqs.eu-west-1.amazonaws.com", "", "/", "", {}, b"", Keys("A", "s", None), 0)
@example("http", "localhost", ":4566", "/", "", {"X": "  two  spaces "}, b"{}", Keys("A", "s", "t"), 951_782_399)
def test_a_signature_is_botocore_s(
    scheme: str, host: str, port: str, path: str, query: str, given: dict[str, str], body: bytes, keys: Keys, now: int
) -> None:
    url = f"{scheme}://{host}{port}{path}" + (f"?{query}" if query else "")
    chosen, stamp, scope = distinct(given), stamp_of(now), ("eu-west-1", "sqs")
    default = port in ("", ":80" if scheme == "http" else ":443")
    signer = Signer("POST", url, {"Host": host.lower() + ("" if default else port), **chosen}.items(), *scope)
    assert signer.authorization(keys, stamp, body) == by_botocore(url, chosen, body, keys, stamp, scope)


@given(st.lists(st.tuples(credentials, times, st.binary(max_size=20)), min_size=2, max_size=6))
def test_one_signer_keeps_nothing_of_other_days_and_credentials(requests: list[tuple[Keys, int, bytes]]) -> None:
    url: str = "https://sns.us-gov-west-1.amazonaws.com/"
    given: dict[str, Any] = {"Content-Type": "text/x"}
    signer = Signer("POST", url, {"Host": "sns.us-gov-west-1.amazonaws.com", **given}.items(), "us-gov-west-1", "sns")
    for keys, now, body in requests:
        stamp = stamp_of(now)
        expected = by_botocore(url, given, body, keys, stamp, ("us-gov-west-1", "sns"))
        assert signer.authorization(keys, stamp, body) == expected


def test_the_time_of_a_signature_is_utc() -> None:
    assert stamp_of(0) == "19700101T000000Z"
    assert stamp_of(1_700_000_000.9) == "20231114T221320Z"
