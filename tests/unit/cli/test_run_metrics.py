"""`polybus run --metrics`: what Prometheus scrapes, without a collector."""

from __future__ import annotations

import re
import signal
import urllib.request
from collections.abc import Callable

import pytest

SERVICE = """\
import polybus

app = polybus.App(service="worker")

@app.handler("jobs")
async def work(body: str) -> None:
    print("worked", flush=True)
    if body == "b":
        raise ValueError(body)
"""


def test_a_scrape_has_what_was_handled(shop, spawn: Callable) -> None:
    shop.topology.write_text(shop.topology.read_text() + '[services.worker]\nconsumes = ["jobs"]\n')
    (shop.folder / "service.py").write_text(SERVICE)
    process = spawn("run", "service:app", "--metrics", "127.0.0.1:0", cwd=shop.folder)
    said = process.stderr.readline()
    port = re.search(r"metrics: GET /metrics on port (\d+) of 127\.0\.0\.1", said)
    assert port is not None, said
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics") as answer:
        text = answer.read().decode()
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert 'target_info{service_name="worker"} 1\n' in text
    assert re.search(
        r'^messaging_client_consumed_messages_total\{.*messaging_destination_name="jobs".*\} 1$', text, re.M
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--metrics", "eighty"], "'eighty' is no address; write 8080"),
        (["--metrics", ":80"], "':80' is no address"),
        (["--metrics", "8080", "--health", "8080"], "another port than that of --health"),
    ],
)
def test_an_address_that_is_none_is_refused(cli: Callable, given: list[str], words: str) -> None:
    refused = cli("run", "service:app", *given)
    assert refused.code == 2
    assert words in " ".join(refused.err.split())
