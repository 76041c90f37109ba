"""`polybus export keda` and the like: by a stack's file, a file of one's own, a cloud's defaults; and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Cli, Shop

SERVICES = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
[queues.jobs]
[services.billing]
consumes = ["billing", "jobs"]
[services.checkout]
publishes = ["orders"]
[services.keeper]
operates = ["billing"]
"""


@pytest.fixture
def config(shop: Shop) -> Path:
    """A stack's configuration in a file of one's own."""
    shop.topology.write_text(SERVICES)
    path = shop.folder / "prod.toml"
    path.write_text(
        'cloud = "aws"\n"aws:region" = "eu-west-1"\n'
        'roles = { billing = "arn:aws:iam::111122223333:role/billing" }\n'
        '[run.billing]\nimage = "registry/billing:1"\napp = ["shop.billing:app", "shop.jobs:app"]\nmax = 30\n'
        'memory = "1024MiB"\n[run.checkout]\nimage = "registry/checkout:1"\napp = "shop:app"\n'
        "[blanks]\nEKS_OIDC_PROVIDER = 'oidc.example/id'\n"
    )
    return path


def test_a_stack_is_written_as_yaml_and_what_is_open_is_named(cli: Cli, config: Path) -> None:
    done = cli("export", "keda", "--config", str(config), "--stack", "prod", "--set", "CHECKOUT_ROLE_ARN=arn:role")
    assert done.code == 0, done.err
    assert done.out.startswith("apiVersion: v1\nkind: ServiceAccount\n")
    assert "maxReplicaCount: 30\n" in done.out
    assert "- shop.billing:app\n" in done.out
    assert "- shop.jobs:app\n" in done.out
    assert 'memory: "1024Mi"' in done.out
    assert "left open" not in done.err
    assert "identities.json: what else has to be set up" in done.err
    assert "keeper is left out: it only operates, as people do" in done.err


def test_the_command_line_has_the_last_word(cli: Cli, config: Path) -> None:
    more = ("--max", "5", "--image", "other/{service}:2", "--app", "{service}:app", "--messages", "7", "--grace", "1m")
    found = cli("export", "keda", "--config", str(config), "--service", "billing", "--json", *more).json()
    assert set(found["files"]) == {"billing", "identities"}
    documents = {one["kind"]: one for one in found["files"]["billing"]}
    assert documents["ScaledObject"]["spec"]["maxReplicaCount"] == 5
    assert documents["ScaledObject"]["spec"]["triggers"][0]["metadata"]["queueLength"] == "7"
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "other/billing:2"
    assert pod["terminationGracePeriodSeconds"] == 75
    assert "billing:app" in pod["containers"][0]["command"]
    assert found["open"] == []


def test_a_pulumi_stack_says_the_same_in_its_own_file(cli: Cli, shop: Shop) -> None:
    shop.topology.write_text(SERVICES)
    folder = shop.folder / "stacks"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: polybus\nruntime: python\n")
    (folder / "Pulumi.prod.yaml").write_text(
        "config:\n  polybus:cloud: gcp\n  polybus:topology: ../polybus.toml\n  gcp:project: shop-prod\n"
        "  polybus:members:\n    billing:\n      secure: AAABEncrypted\n  polybus:run:\n    billing:\n      max: 4\n"
    )
    done = cli("export", "keda", "prod", "--json")
    assert done.code == 0, done.err
    assert "AAABEncrypted" not in done.out + done.err
    found = done.json()
    documents = {one["kind"]: one for one in found["files"]["billing"]}
    assert documents["ScaledObject"]["spec"]["maxReplicaCount"] == 4
    annotations = documents["ServiceAccount"]["metadata"]["annotations"]
    assert annotations == {"iam.gke.io/gcp-service-account": "${MEMBERS_BILLING}"}
    assert "MEMBERS_BILLING" in found["open"]


def test_files_are_written_over_those_of_a_former_export_alone(cli: Cli, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "manifests"
    assert cli("export", "keda", "--config", str(config), "--out", str(out)).code == 0
    names = {"billing.yaml", "checkout.yaml", "identities.json"}
    assert {path.name for path in out.iterdir()} == {*names, ".polybus-export"}
    assert "Written by `polybus export keda` from polybus.toml" in (out / "billing.yaml").read_text()
    assert json.loads((out / "identities.json").read_text())["identities"]
    (out / "billing.yaml").write_text("")
    done = cli("export", "keda", "--config", str(config), "--out", str(out), "--service", "billing")
    assert done.code == 0
    assert (out / "billing.yaml").read_text()
    assert "checkout.yaml is of a former export" in done.err
    (out / "theirs.yaml").touch()
    (out / ".polybus-export").unlink()
    done = cli("export", "keda", "--config", str(config), "--out", str(out))
    assert done.code == 1
    assert "is there, and not of `polybus export`" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--identity", "workload"), "found 'workload'; allowed on aws: irsa, pod-identity"),
        (("--set", "BILLING"), "'BILLING'; write NAME=VALUE"),
        (("--set", "BILLING_APP=x"), "nothing is left open by the name of BILLING_APP"),
        (("--min", "-1"), "'-1' is not a whole number from 0"),
        (("--json", "--out", "x"), "it is for stdout"),
    ],
)
def test_what_is_asked_wrongly_is_refused(cli: Cli, config: Path, arguments: tuple[str, ...], words: str) -> None:
    done = cli("export", "keda", "--config", str(config), *arguments)
    assert done.code == 2
    assert words in " ".join(done.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "[run.biling]\nmax = 1\n",
            "declares no such service; there are: billing, checkout, keeper; did you mean billing?",
        ),
        ("[run.keeper]\nmaximum = 1\n", "polybus:run.keeper.maximum: nothing reads it; did you mean max?"),
        ("[run.keeper]\nmax = 0\n", "polybus:run.keeper.max: found 0; allowed: a whole number from 1"),
        ("[run.keeper]\ngrace = 'soon'\n", "polybus:run.keeper.grace: found 'soon'; allowed: a duration"),
        ("[run.keeper]\nmemory = '1000'\n", "polybus:run.keeper.memory: found '1000'; allowed: a size in MiB"),
        ("[run.keeper]\napp = []\n", "polybus:run.keeper.app: found []; allowed: an app as module:name"),
        ("[run.keeper]\ncpu = true\n", "polybus:run.keeper.cpu: found True; allowed: a number of cores"),
        ("[run]\nkeeper = 3\n", "polybus:run.keeper: found 3; allowed: a table of image, app"),
    ],
)
def test_what_is_wrong_in_a_file_is_refused_with_its_place(cli: Cli, config: Path, lines: str, words: str) -> None:
    config.write_text(f'cloud = "aws"\n{lines}')
    done = cli("export", "keda", "--config", str(config))
    assert done.code == 1
    assert words in done.err


def test_more_at_least_than_at_most_is_refused(cli: Cli, config: Path) -> None:
    done = cli("export", "keda", "--config", str(config), "--min", "6", "--max", "5")
    assert done.code == 1
    assert "billing: found min 6 and max 5" in done.err


def test_a_service_that_is_not_there_is_refused_with_the_nearest(cli: Cli, config: Path) -> None:
    done = cli("export", "keda", "--config", str(config), "--service", "biling")
    assert done.code == 1
    assert "declares no service 'biling'; there are: billing, checkout, keeper; did you mean billing?" in done.err


def test_identities_are_of_their_cloud_alone(cli: Cli, shop: Shop) -> None:
    shop.topology.write_text(SERVICES)
    done = cli("export", "keda", "--cloud", "azure", "--identity", "irsa")
    assert done.code == 2
    assert "allowed on azure: the platform's own alone" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("platform", "cloud", "words"),
    [
        ("ecs", "azure", "ecs runs services of aws, and the stack is on azure; instead: `polybus export keda` or"),
        (
            "cloudrun",
            "aws",
            "cloudrun runs services of gcp, and the stack is on aws; instead: `polybus export keda` or",
        ),
        ("containerapps", "gcp", "instead: `polybus export keda` or `polybus export cloudrun`"),
    ],
)
def test_a_platform_of_another_cloud_is_refused_by_name(
    cli: Cli, shop: Shop, platform: str, cloud: str, words: str
) -> None:
    shop.topology.write_text(SERVICES)
    done = cli("export", platform, "--cloud", cloud)
    assert done.code == 2
    assert words in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("platform", "cloud", "arguments", "words"),
    [
        ("ecs", "aws", ("--namespace", "shop"), "ecs has no namespaces"),
        ("cloudrun", "gcp", ("--jobs",), "cloudrun has no jobs"),
        ("containerapps", "azure", ("--identity", "irsa"), "allowed on azure: the platform's own alone"),
    ],
)
def test_what_a_platform_has_not_is_refused(
    cli: Cli, shop: Shop, platform: str, cloud: str, arguments: tuple[str, ...], words: str
) -> None:
    shop.topology.write_text(SERVICES)
    done = cli("export", platform, "--cloud", cloud, *arguments)
    assert done.code == 2
    assert words in " ".join(done.err.split())


def test_a_platform_that_takes_json_prints_json(cli: Cli, config: Path) -> None:
    done = cli("export", "ecs", "--config", str(config), "--service", "billing", "--set", "ECS_SUBNETS=a,b")
    assert done.code == 0, done.err
    found = done.json()
    assert found["billing.service.json"]["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == ["a", "b"]
    assert "ECS_CLUSTER" in done.err


def test_each_platform_writes_its_files(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    shop.topology.write_text(SERVICES)
    for platform, cloud, file in (
        ("ecs", "aws", "billing.task-definition.json"),
        ("cloudrun", "gcp", "billing.worker-pool.yaml"),
        ("containerapps", "azure", "billing.yaml"),
    ):
        out = tmp_path / platform
        done = cli("export", platform, "--cloud", cloud, "--out", str(out))
        assert done.code == 0, done.err
        assert (out / file).is_file()
