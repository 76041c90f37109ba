"""`polybus outbox`, `polybus schedule`, and `polybus run --outbox`."""

from __future__ import annotations

import signal
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polybus.outbox import Outbox

SERVICE = """\
import polybus

app = polybus.App()

@app.handler("jobs")
async def work(body: str) -> None:
    print(f"worked on {body}\\n", end="", flush=True)
"""


class Ours:
    """An outbox of the shop's, in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ours.db"
        self.url = f"sqlite:///{self.path}"
        self.database = sqlite3.connect(self.path)
        self.outbox = Outbox(folder / "polybus.toml")
        self.outbox.create_tables_sync(self.database)

    def publish(self, *bodies: str, target: str = "jobs", key: str | None = None) -> list[str]:
        with self.database:
            return [self.outbox.publish_sync(self.database, target, body, ordering_key=key) for body in bodies]

    def refuse(self, id: str) -> None:
        """Leave a message as a relay does that was refused it."""
        noted = (
            "UPDATE polybus_outbox SET failed_at = 1700000000, attempts = 1, reason = 'too_large: it is' WHERE id = ?"
        )
        with self.database:
            self.database.execute(noted, (id,))


@pytest.fixture
def ours(shop) -> Iterator[Ours]:
    found = Ours(shop.folder)
    yield found
    found.database.close()


def test_list_retry_and_discard(cli: Callable, ours: Ours) -> None:
    nothing = cli("outbox", "list", ours.url)
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "nothing in the outbox failed\n")
    first, second, third = ours.publish("a", "b", "c", target="keyed", key="ada")
    ours.refuse(first)
    listed = cli("outbox", "list", ours.url)
    for part in (first, "keyed", "ada", "failed", "2023-11-14 22:13:20 UTC", "too_large: it is"):
        assert part in listed.out
    assert second not in listed.out
    assert [each["state"] for each in cli("outbox", "list", ours.url, "--all", "--json").json()] == [
        "failed",
        "waiting",
        "waiting",
    ]
    assert cli("outbox", "retry", ours.url, "--id", first).err == "1 to be sent again\n"
    assert cli("outbox", "list", ours.url, "--json").json() == []
    assert cli("outbox", "discard", ours.url, "--id", third, "--yes").err == "1 deleted\n"
    assert [each["id"] for each in cli("outbox", "list", ours.url, "--all", "--json").json()] == [first, second]


def test_what_retry_and_discard_refuse(cli: Callable, ours: Ours) -> None:
    assert cli("outbox", "retry", ours.url).code == 2
    asked = cli("outbox", "discard", ours.url, "--all")
    assert asked.code == 2
    assert "only --yes can answer" in " ".join(asked.err.replace("│", "").split())
    missing = cli("outbox", "retry", ours.url, "--id", "none")
    assert (missing.code, "no such message" in missing.err) == (1, True)
    assert cli("outbox", "retry", ours.url, "--all").err == "nothing in the outbox failed\n"


def test_schedule_list_and_cancel(cli: Callable, ours: Ours) -> None:
    assert cli("schedule", "list", ours.url).err == "nothing is scheduled\n"
    with ours.database:
        id = ours.outbox.schedule_sync(ours.database, "jobs", "a", in_="30d")
    assert id in cli("schedule", "list", ours.url).out
    [later] = cli("schedule", "list", ours.url, "--json").json()
    assert (later["id"], later["target"], later["bytes"]) == (id, "jobs", 1)
    assert cli("schedule", "cancel", ours.url, id).err == "cancelled 1\n"
    assert cli("schedule", "cancel", ours.url, id).code == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://ada:secret@host/shop", "the outbox's URL is none"),
        ("secret", "the outbox's URL is none"),
        ("sqlite://", "names no SQLite file"),
        ("sqlite:////nowhere/secret.db", "is no file"),
        ("env:NOT_SET_AT_ALL", "NOT_SET_AT_ALL, which is not set"),
        ("postgresql://ada:secret@localhost:1/shop", "the outbox's database: "),
        ("postgresql+none://ada:secret@localhost:1/shop", "the outbox's URL can't be read"),
    ],
)
def test_a_database_that_is_none_is_refused_without_its_password(cli: Callable, url: str, said: str) -> None:
    result = cli("outbox", "list", url)
    assert result.code == 1
    assert said in result.err
    assert "secret@" not in result.out + result.err


def test_the_url_may_be_in_a_variable(cli: Callable, ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE", ours.url)
    assert cli("outbox", "list", "env:SHOP_DATABASE", "--json").json() == []


def test_run_sends_beside_a_service(shop, spawn: Callable, ours: Ours) -> None:
    (shop.folder / "service.py").write_text(SERVICE)
    ours.publish("a")
    process = spawn("run", "service:app", "--outbox", ours.url, cwd=shop.folder)
    assert process.stdout.readline() == "worked on a\n"
    ours.publish("b")
    assert process.stdout.readline() == "worked on b\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "consumes nothing" not in err


def test_run_sends_alone(shop, spawn: Callable, ours: Ours) -> None:
    process = spawn("run", "--outbox", ours.url, cwd=shop.folder)
    ours.publish("a")
    [message] = shop.take("jobs", 1)
    assert message.body == b"a"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "consumes nothing" not in err


def test_a_relay_that_cannot_send_is_not_ready(shop, spawn: Callable, ours: Ours) -> None:
    """What was there when the message was published is gone from the topology that the relay has."""
    ours.publish("a")
    topology = shop.folder / "polybus.toml"
    topology.write_text(topology.read_text().replace("[queues.jobs]", "[queues.works]"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = spawn("run", "--outbox", ours.url, "--health", f"127.0.0.1:{port}", cwd=shop.folder)
    for line in process.stderr:
        if "sending from the outbox to 'jobs' failed" in line:
            break
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ready")
    answer = refused.value.read().decode()
    refused.value.close()
    assert "sending from the outbox to 'jobs' fails" in answer
    row, deadline = (0, None, ""), time.monotonic() + 60
    while row[0] < 1 and time.monotonic() < deadline:  # the log is told before the row
        time.sleep(0.02)
        row = ours.database.execute("SELECT attempts, failed_at, reason FROM polybus_outbox").fetchone()
    assert row[0] >= 1
    assert row[1] is None
    assert "jobs" in row[2]


def test_run_of_nothing_is_refused(cli: Callable) -> None:
    assert cli("run").code == 2


def test_run_without_the_tables_fails(shop, spawn: Callable) -> None:
    sqlite3.connect(shop.folder / "empty.db").close()
    (shop.folder / "empty.db").touch()
    process = spawn("run", "--outbox", f"sqlite:///{shop.folder / 'empty.db'}", cwd=shop.folder)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "has no table polybus_outbox" in err
