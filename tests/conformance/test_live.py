"""POLYBUS_LIVE, with local servers in processes of their own in the part of the accounts, on the machine's clock."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polybus.localcloud.servicebus.rights import ROOT_KEY, ROOT_KEY_NAME
from polybus.plan.values import Resource

from . import conftest, live
from .sweep import sweep

ROOT = Path(__file__).parents[2]
# Real seconds for what takes a few, on a busy machine.
PATIENCE = 120.0

# Names in the account that aren't the run's: much like it, of other runs, and of others.
OLD, NEW = "shop-live-20200101t000000z-0123ab-jobs", "shop-live-29990101t000000z-0123ab-jobs"
FOREIGN = (
    "shop",
    "shop-live-jobs",
    "shop-live-20200101t000000z-jobs",
    "shopping-live-20200101t000000z-0123ab-jobs",
    NEW,
)


def aws(address: str, folder: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }


def azure(address: str, folder: Path) -> dict[str, str]:
    text = (
        f"Endpoint=sb://localhost:{address.rpartition(':')[2]};SharedAccessKeyName={ROOT_KEY_NAME};"
        f"SharedAccessKey={ROOT_KEY};UseDevelopmentEmulator=true;"
    )
    return {
        "AZURE_SERVICEBUS_CONNECTION_STRING": text,
        "AZURE_SERVICEBUS_CA_FILE": str(folder / "servicebus-ca.pem"),
    }


def gcp(address: str, folder: Path) -> dict[str, str]:
    return {"PUBSUB_EMULATOR_HOST": address, "GOOGLE_CLOUD_PROJECT": "project"}


VARIABLES: dict[str, Callable[[str, Path], dict[str, str]]] = {"aws": aws, "azure": azure, "gcp": gcp}
# Of each cloud, how a topic and a queue are made, by a name.
MAKE: dict[str, dict[str, Callable[[str], dict[str, Any]]]] = {
    "aws": {"aws:sns/topic:Topic": lambda name: {"name": name}, "aws:sqs/queue:Queue": lambda name: {"name": name}},
    "azure": {
        "azure-native:servicebus:Topic": lambda name: {"topicName": f"{name}-topic"},
        "azure-native:servicebus:Queue": lambda name: {"queueName": name},
    },
    "gcp": {
        "gcp:pubsub/topic:Topic": lambda name: {"name": name},
        "gcp:pubsub/subscription:Subscription": lambda name: {"name": name, "topic": name},
    },
}


@contextmanager
def serving(cloud: str, folder: Path) -> Iterator[dict[str, str]]:
    """Run a cloud's server as a process; give what leads there."""
    command = [sys.executable, "-m", "polybus.localcloud.run", cloud, "--data", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready, host, port = server.stdout.readline().split()
            assert ready == "ready"
            yield {**VARIABLES[cloud](f"{host}:{port}", folder), "POLYBUS_LIVE_PREFIX": "shop"}
        finally:
            server.terminate()


@pytest.fixture(params=live.CLOUDS)
def cloud(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def variables(
    cloud: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruptible: None
) -> Iterator[dict[str, str]]:
    with serving(cloud, tmp_path) as given:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        yield {**given, "POLYBUS_LIVE": cloud}


@pytest.fixture
def account(cloud: str, variables: Mapping[str, str]) -> Iterator[live.Account]:
    """Open the account, with foreign entities in it."""
    opened = live.account(cloud)
    for name in FOREIGN:
        put(opened, cloud, name)
    yield opened
    opened.close()


def put(account: live.Account, cloud: str, name: str) -> None:
    for type_, inputs in MAKE[cloud].items():
        account.create(type_, name, inputs(name))


def names(account: live.Account) -> list[tuple[str, str]]:
    return sorted((item.kind, item.name) for item in account.find(""))


@contextmanager
def started(variables: Mapping[str, str], *tests: str) -> Iterator[subprocess.Popen[str]]:
    """Begin to run some of the suite's tests on an account."""
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-v", *tests],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        watch = threading.Timer(PATIENCE, running.kill)  # reading what it says has no limit of its own
        watch.start()
        try:
            yield running
        finally:
            watch.cancel()
            running.kill()


def wait_for(running: subprocess.Popen[str], text: str) -> str:
    """Read what a run says until it says this."""
    assert running.stdout is not None
    read = ""
    for line in running.stdout:
        read += line
        if text in line:
            return read
    how = running.wait()
    late = f", as it was killed after {PATIENCE:.0f} s" if how == -signal.SIGKILL else ""
    raise AssertionError(f"it ended with {how}{late}, before it said {text!r}:\n{read}")


def chosen(cloud: str, tests: str) -> tuple[str, ...]:
    """Return what has pytest run those tests of a cloud's suite that an expression names."""
    return f"tests/conformance/test_{cloud}.py", "-k", tests


def in_order(cloud: str, *tests: str) -> tuple[str, ...]:
    """Return what has pytest run these tests of a cloud's suite one after the other, and not in a random order."""
    return "--polybus-seed", "0", *(f"tests/conformance/test_{cloud}.py::Test{cloud.title()}::{test}" for test in tests)


def test_a_run_passes_and_leaves_the_account_as_it_was(
    cloud: str, variables: dict[str, str], account: live.Account
) -> None:
    before = names(account)
    tests = "P1_publish_returns_the_id or D8_filters or D14_a_foreign_message_passes"
    with started(variables, *chosen(cloud, tests)) as running:
        said, _ = running.communicate()
    assert running.returncode == 0, said
    assert re.search(r"\b\d passed, \d+ deselected", said), said
    made = re.search(r"Conformance on .*; run shop-live-\S+; (\d+) entities made .*; (\d+) deleted", said)
    assert made is not None, said
    assert made[1] == made[2] != "0"
    assert re.search(r"Not run, for they were not chosen: \d+ tests; \d+ let time pass", said), said
    assert names(account) == before


@pytest.mark.parametrize("cloud", ["aws"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
def test_a_run_that_is_cut_off_in_a_test_leaves_nothing(
    end: signal.Signals, cloud: str, variables: dict[str, str], account: live.Account
) -> None:
    before = names(account)
    # The second lets minutes pass, and on an account waits for them: that is where the run is cut off.
    tests = in_order(cloud, "test_D14_a_foreign_message_is_delivered", "test_D1_a_message_waits_for_a_consumer")
    with started(variables, *tests) as running:
        said = wait_for(running, "PASSED")
        assert len(names(account)) > len(before)
        running.send_signal(end)
        rest, _ = running.communicate()
    assert running.returncode == pytest.ExitCode.INTERRUPTED, said + rest
    assert names(account) == before, said + rest


@pytest.mark.parametrize("cloud", ["gcp"])
def test_a_run_that_is_cut_off_while_it_makes_entities_leaves_nothing(
    cloud: str, variables: dict[str, str], account: live.Account
) -> None:
    before = names(account)
    with started(variables, *chosen(cloud, "P1_")) as running:
        while len(names(account)) == len(before) and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate()
    assert running.returncode == pytest.ExitCode.INTERRUPTED, said
    assert names(account) == before, said


def test_only_dead_runs_are_swept(cloud: str, account: live.Account, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(account)
    put(account, cloud, OLD)
    assert sweep(account, "shop", 3600.0, dry=True) == []
    assert len(names(account)) == len(before) + 2
    assert OLD in capsys.readouterr().out
    assert sweep(account, "shop", 3600.0) == []
    assert names(account) == before


class Stubborn:
    """An account that neither lists nor deletes."""

    where = "the account"
    closed = False

    def inputs(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        return properties

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        return {"id": name}

    def made(self, type_: str, outputs: Mapping[str, str]) -> live.Item | None:
        return live.Item(type_, outputs["id"], outputs["id"])

    def find(self, start: str) -> Iterator[live.Item]:
        raise PermissionError("no lists")

    def delete(self, item: live.Item) -> None:
        raise PermissionError("no deletes")

    def close(self) -> None:
        self.closed = True


def test_what_could_not_be_deleted_is_said() -> None:
    account = Stubborn()
    stay = live.Stay(account, live.Run.begin("shop"))
    stay.realise([Resource("queue", "jobs", {}, "queue", "$.queues.jobs")])
    [line] = live.end_all()
    assert "1 entities made" in line
    assert "0 deleted" in line
    assert re.search(r"begins with shop-live-\S+: 2, the first what else there may be: PermissionError: no lists", line)
    assert "tests.conformance.sweep" in line
    assert account.closed
    stay.end()  # once is all


WRONG = {
    "no such cloud": ("aws", {"POLYBUS_LIVE": "oracle"}, "takes aws, azure, gcp"),
    "no prefix": ("aws", {"POLYBUS_LIVE_PREFIX": ""}, "POLYBUS_LIVE_PREFIX: it isn't set"),
    "a wide prefix": ("aws", {"POLYBUS_LIVE_PREFIX": "x"}, "found 'x'"),
    "no region": ("aws", {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, "set AWS_REGION"),
    "no AWS credentials": ("aws", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "set AWS_PROFILE"),
    "nothing at the endpoint": ("aws", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "EndpointConnectionError"),
    "no Google credentials": (
        "gcp",
        {"PUBSUB_EMULATOR_HOST": "", "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"},
        "gcloud auth",
    ),
    "no namespace": ("azure", {"AZURE_SERVICEBUS_CONNECTION_STRING": ""}, "set SERVICEBUS_FULLY_QUALIFIED_NAMESPACE"),
    "a key": ("azure", {"AZURE_SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://real;SharedAccessKey=k"}, "unset it"),
}


APART = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_MAX_ATTEMPTS": "1",
    "SERVICEBUS_FULLY_QUALIFIED_NAMESPACE": "",
}


def environment(case: str, folder: Path) -> dict[str, str]:
    cloud, changed, _ = WRONG[case]
    right = {"POLYBUS_LIVE": cloud, "POLYBUS_LIVE_PREFIX": "shop", **VARIABLES[cloud]("127.0.0.1:1", folder)}
    return {**right, **APART, **changed}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setup_ends_the_run_and_says_what_to_set(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(case, tmp_path).items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    with pytest.raises(pytest.exit.Exception) as ended:
        conftest.pytest_configure()
    assert ended.value.returncode == pytest.ExitCode.USAGE_ERROR
    assert str(ended.value.msg).startswith("POLYBUS_LIVE")
    assert WRONG[case][2] in str(ended.value.msg)


def test_a_wrong_setup_is_all_that_the_run_says(tmp_path: Path) -> None:
    given = {**os.environ, **environment("no prefix", tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "tests/conformance/test_aws.py"]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    [line] = (done.stdout + done.stderr).strip().splitlines()
    assert "POLYBUS_LIVE_PREFIX: it isn't set" in line
