"""Stack configuration: what is wrong is one error before the first resource, naming file, place, cloud and limit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from . import runner, simulated

SMALL = """
[bus]
name = "small"
[topics.news]
[subscriptions.mail]
topic = "news"
[queues.jobs]
[services.writer]
publishes = ["news"]
"""


def deploy(folder: Path, values: Mapping[str, str], topology: str | None = SMALL) -> runner.Run:
    if topology is not None:
        (folder / "polybus.toml").write_text(topology)
    given = {f"polybus:{key}" if ":" not in key else key: value for key, value in values.items()}
    return runner.run(runner.main, simulated.create, look=simulated.look, values=given, root=folder)


def refusal(folder: Path, values: Mapping[str, str], topology: str | None = SMALL) -> str:
    """Return the one error of a run that makes nothing at all, not even the component."""
    if topology is not None:
        (folder / "polybus.toml").write_text(topology)
    given = {f"polybus:{key}" if ":" not in key else key: value for key, value in values.items()}
    made: list[str] = []

    def create(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        made.append(name)
        return {}

    with pytest.raises(pulumi.RunError) as raised:  # RunError is what Pulumi shows without a traceback
        runner.run(runner.main, create, values=given, root=folder)
    assert made == []
    return str(raised.value)


def test_no_cloud(tmp_path: Path) -> None:
    words = refusal(tmp_path, {})
    assert words == (
        "Pulumi.dev.yaml: polybus:cloud is not set: choose one with `pulumi config set polybus:cloud aws|azure|gcp`"
    )


@pytest.mark.parametrize("name", ["was", "local", "AWS", ""])
def test_an_unknown_cloud(tmp_path: Path, name: str) -> None:
    words = refusal(tmp_path, {"cloud": name})
    assert words == f"Pulumi.dev.yaml: polybus:cloud: found {name!r}; allowed: aws, azure, gcp"


def test_a_missing_topology(tmp_path: Path) -> None:
    words = refusal(tmp_path, {"cloud": "aws", "topology": "elsewhere.toml"}, topology=None)
    assert words.startswith(f"{tmp_path / 'elsewhere.toml'}: no such file")


def test_a_malformed_topology(tmp_path: Path) -> None:
    words = refusal(tmp_path, {"cloud": "aws"}, '[bus]\nname = "b"\n[queues.jobs]\nlease = "soon"\n')
    assert words.startswith(f'{tmp_path / "polybus.toml"}: at $.queues.jobs.lease: found "soon"')


@pytest.mark.parametrize(("cloud", "key"), [("aws", "roles"), ("azure", "principals"), ("gcp", "members")])
def test_a_service_that_is_not_declared(tmp_path: Path, cloud: str, key: str) -> None:
    words = refusal(tmp_path, {"cloud": cloud, key: '{"wrtier": "somebody"}'})
    assert words == (
        f"{cloud} {key}: found the service 'wrtier'; {tmp_path / 'polybus.toml'} declares: writer; did you mean writer?"
    )


@pytest.mark.parametrize(
    ("cloud", "entry", "words"),
    [
        ("aws", 'max_delay = "20m"', "at $.queues.jobs.max_delay: aws: found 20m; allowed: 0s to 15m"),
        (
            "azure",
            'ordered = true\nmax_delay = "1m"',
            "at $.queues.jobs.max_delay: azure: found 1m; Service Bus can't hold",
        ),
        ("gcp", 'max_delay = "1m"', "at $.queues.jobs.max_delay: gcp: found 1m; Pub/Sub has no delay"),
    ],
)
def test_a_limit_exceeded(tmp_path: Path, cloud: str, entry: str, words: str) -> None:
    topology = SMALL.replace("[queues.jobs]", f"[queues.jobs]\n{entry}")
    assert refusal(tmp_path, {"cloud": cloud}, topology).startswith(f"{tmp_path / 'polybus.toml'}: {words}")


def test_a_misspelt_key(tmp_path: Path) -> None:
    words = refusal(tmp_path, {"cloud": "aws", "protct": "true"})
    assert words.startswith(
        "Pulumi.dev.yaml: polybus:protct: nothing reads it; did you mean protect?; allowed: cloud, "
    )


def test_a_key_of_another_cloud(tmp_path: Path) -> None:
    words = refusal(tmp_path, {"cloud": "azure", "roles": "{}"})
    assert words.startswith("Pulumi.dev.yaml: polybus:roles: it is for aws; allowed here: cloud, ")


@pytest.mark.parametrize(
    ("cloud", "key", "value", "allowed"),
    [
        ("aws", "protect", "yes", "true, false"),
        ("aws", "tags", "environment", "structured configuration"),
        ("aws", "tags", '{"a": 1}', "a table of texts"),
        ("aws", "roles", "[]", "a table"),
        ("azure", "sku", "Basic", "Standard, Premium"),
        ("azure", "capacity", "two", "a whole number"),
        ("azure", "customerKey", '{"keyName": "k"}', "vaultUri, keyName and identity, all three"),
        ("azure", "principals", '{"writer": {"name": "w"}}', "an object id, or "),
        ("gcp", "regions", '{"a": "b"}', "a list of texts"),
    ],
)
def test_a_value_of_the_wrong_form(tmp_path: Path, cloud: str, key: str, value: str, allowed: str) -> None:
    words = refusal(tmp_path, {"cloud": cloud, key: value})
    place = f"{key}.writer" if key == "principals" else key
    assert words.startswith(f"Pulumi.dev.yaml: polybus:{place}: found ")
    assert f"; allowed: {allowed}" in words


def test_a_standard_namespace_has_no_private_endpoint(tmp_path: Path) -> None:
    assert "instead: sku" in refusal(tmp_path, {"cloud": "azure", "subnet": "/subscriptions/s"})


def test_the_topology_is_found_beside_the_project_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "mine.toml").write_text(SMALL)
    done = deploy(tmp_path, {"cloud": "aws", "topology": "deep/mine.toml"}, topology=None)
    assert done.outputs["polybus"]["bus"] == "small"


def test_the_stack_s_name_is_in_physical_names_and_the_region_in_the_binding(tmp_path: Path) -> None:
    done = deploy(tmp_path, {"cloud": "aws", "aws:region": "eu-north-1"})
    assert done.named("small-jobs-queue").inputs["name"] == "small-dev-jobs"
    assert done.outputs["polybus"]["settings"] == {"region": "eu-north-1"}


def test_roles_get_their_service_s_policy(tmp_path: Path) -> None:
    done = deploy(tmp_path, {"cloud": "aws", "roles": '{"writer": "arn:aws:iam::111122223333:role/team/the-writer"}'})
    attached = done.named("small-writer-role").inputs
    assert attached["role"] == "the-writer"
    assert done.named("small-writer-rights").inputs["policy"] == done.outputs["policies"]["writer"]


def test_an_azure_principal_may_say_what_it_is(tmp_path: Path) -> None:
    done = deploy(tmp_path, {"cloud": "azure", "principals": '{"writer": {"id": "1-2", "type": "Group"}}'})
    assigned = done.named("small-writer.news-sender").inputs
    assert (assigned["principalId"], assigned["principalType"]) == ("1-2", "Group")


@pytest.mark.parametrize("stack", sorted(path.name.split(".")[1] for path in runner.STACKS.glob("Pulumi.*.yaml")))
def test_no_export_holds_a_secret(stack: str) -> None:
    text = str(runner.run_stack(stack, simulated.create, look=simulated.look).outputs).lower()
    assert not [word for word in ("sharedaccesskey", "secret", "password", "connectionstring", "token") if word in text]
