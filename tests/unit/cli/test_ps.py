"""`polybus ps`, `pause`, `resume` and `concurrency`, on services that run as processes."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SERVICE = """\
import polybus

app = polybus.App("worker")

@app.handler("jobs", concurrency=2)
async def work(body: str) -> None:
    print(f"worked on {body}\\n", end="", flush=True)
"""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir="/tmp", prefix="polybus-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    yield made
    shutil.rmtree(made)


def ready(port: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode().strip()


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_services_side_by_side_are_steered(shop, spawn: Callable, cli: Callable, runtime: Path) -> None:
    shop.topology.write_text(shop.topology.read_text() + '[services.worker]\nconsumes = ["jobs"]\n')
    (shop.folder / "service.py").write_text(SERVICE)
    first, second = (
        spawn("run", "service:app", "--control", "--health", "127.0.0.1:0", cwd=shop.folder) for _ in range(2)
    )
    ports = []
    for process in (first, second):
        said = ""
        while (port := re.search(r"health: GET .* on port (\d+)", said)) is None:
            said = process.stderr.readline()
        ports.append(port[1])
    pids = {first.pid, second.pid}
    for process in (first, second):
        assert process.poll() is None, process.stderr.read()
    until(lambda: all(ready(port)[0] == 200 for port in ports))
    seen = cli("ps", "--json").json()
    assert {answer["pid"] for answer in seen} == pids
    assert {(part["source"], part["concurrency"]) for answer in seen for part in answer["parts"]} == {("jobs", 2)}
    assert "worker" in cli("ps").out

    paused = cli("pause", "jobs", "--pid", first.pid, "--json").json()
    assert [answer["pid"] for answer in paused] == [first.pid]
    assert ready(ports[0]) == (503, f"jobs: {paused[0]['parts'][0]['problem']}")
    assert ready(ports[0])[1].startswith("jobs: paused by ")
    assert ready(ports[1])[0] == 200
    assert cli("pause", "jobs").code == 0
    until(lambda: ready(ports[1])[0] == 503)
    assert "paused by" in cli("ps").out
    shop.publish("jobs", "a")
    until(lambda: shop.waiting("jobs") == 1)  # a poll that was under way may take it, and gives it back at once

    changed = cli("concurrency", "jobs", 5, "--service", "worker", "--json").json()
    assert [part["concurrency"] for answer in changed for part in answer["parts"]] == [5, 5]
    refused = cli("pause", "nothing")
    assert refused.code == 1
    assert "it has no handler of 'nothing'; it has jobs" in refused.err
    assert cli("concurrency", "jobs", 0).code == 2
    assert cli("pause", "jobs", "--service", "other").code == 1

    second.kill()
    second.wait()
    assert cli("resume", "jobs").code == 0
    assert first.stdout.readline() == "worked on a\n"
    assert len(list(runtime.glob("polybus/*.sock"))) == 1  # the one that was left behind is gone
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert "control: pause jobs, by " in err
    assert list(runtime.glob("polybus/*.sock")) == []
    assert "nothing runs here with --control" in cli("ps").err


def test_without_control_nothing_listens(shop, spawn: Callable, cli: Callable, runtime: Path) -> None:
    (shop.folder / "service.py").write_text(SERVICE.replace('"worker"', ""))
    process = spawn("run", "service:app", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked on a\n"
    assert cli("ps", "--json").json() == []
    assert list(runtime.iterdir()) == []
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
