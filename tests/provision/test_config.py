"""Stack configuration: what is wrong is one error before the first resource, naming file, place, cloud and limit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pulumi
import pytest

from polybus.clouds.azure.plan import resources as azure
from polybus.errors import ConfigError
from polybus.provision import MessageBus

from . import runner, simulated

ID = "00000000-0000-0000-0000-000000000001"
SUBNET = "/subscriptions/s/resourceGroups/n/providers/Microsoft.Network/virtualNetworks/v/subnets/m"
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


def given_as(values: Mapping[str, str]) -> dict[str, str]:
    """Write keys in full, with the location that Azure's need."""
    given = {f"polybus:{key}" if ":" not in key else key: value for key, value in values.items()}
    return {"azure-native:location": "westeurope", **given} if values.get("cloud") == "azure" else given


def deploy(folder: Path, values: Mapping[str, str], topology: str | None = SMALL) -> runner.Run:
    if topology is not None:
        (folder / "polybus.toml").write_text(topology)
    given = given_as(values)
    return runner.run(runner.main, simulated.create, look=simulated.look, values=given, root=folder)


def refusal(folder: Path, values: Mapping[str, str], topology: str | None = SMALL) -> str:
    """Return the one error of a run that makes nothing at all, not even the component."""
    if topology is not None:
        (folder / "polybus.toml").write_text(topology)
    given, done = given_as(values), runner.Run()
    with pytest.raises(pulumi.RunError) as raised:  # RunError is what Pulumi shows without a traceback
        runner.run(runner.main, simulated.create, values=given, root=folder, done=done)
    assert done.resources == []
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
    assert words == (
        "Pulumi.dev.yaml: polybus:topology: found 'elsewhere.toml'; "
        f"allowed: a file, relative to Pulumi.yaml's folder; there is no {tmp_path / 'elsewhere.toml'}"
    )


def test_an_inline_program_s_topology_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that are functions, by the Automation API, have no folder of a project."""
    monkeypatch.chdir(tmp_path)
    given = {"polybus:cloud": "aws", "aws:region": "eu-west-1"}
    with pytest.raises(pulumi.RunError, match=r"relative to the working directory; there is no .*/polybus.toml"):
        runner.run(runner.main, simulated.create, values=given, root=None)
    (tmp_path / "polybus.toml").write_text(SMALL)
    done = runner.run(runner.main, simulated.create, values=given, root=None)
    assert done.outputs["polybus"]["bus"] == "small"


def test_a_malformed_topology(tmp_path: Path) -> None:
    words = refusal(tmp_path, {"cloud": "aws"}, '[bus]\nname = "b"\n[queues.jobs]\nlease = "soon"\n')
    assert words.startswith(f'{tmp_path / "polybus.toml"}: at $.queues.jobs.lease: found "soon"')


@pytest.mark.parametrize(("cloud", "key"), [("aws", "roles"), ("azure", "principals"), ("gcp", "members")])
def test_a_service_that_is_not_declared(tmp_path: Path, cloud: str, key: str) -> None:
    words = refusal(tmp_path, {"cloud": cloud, key: '{"wrtier": "somebody"}'})
    assert words == (
        f"Pulumi.dev.yaml: polybus:{key}.wrtier: {cloud}: found the service 'wrtier'; "
        f"allowed: those of {tmp_path / 'polybus.toml'}: writer; did you mean writer?"
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


OUT_OF_PROCESS = [
    ({}, SMALL, ["Pulumi.dev.yaml: polybus:cloud is not set", "aws|azure|gcp"]),
    ({"polybus:cloud": "asw"}, SMALL, ["Pulumi.dev.yaml: polybus:cloud: found 'asw'; allowed: aws, azure, gcp"]),
    ({"polybus:cloud": "gcp", "polybus:topology": "x.toml"}, None, ["Pulumi.dev.yaml: polybus:topology: ", "/x.toml"]),
    (
        {"polybus:cloud": "azure", "polybus:principals": '{"nobody": "1"}'},
        SMALL,
        ["Pulumi.dev.yaml: polybus:principals.nobody: azure: found ", "/polybus.toml: writer"],
    ),
    (
        {"polybus:cloud": "aws"},
        SMALL.replace("[queues.jobs]", '[queues.jobs]\nmax_delay = "20m"'),
        ["/polybus.toml: at $.queues.jobs.max_delay: aws: found 20m; allowed: 0s to 15m"],
    ),
]


@pytest.mark.parametrize(("values", "topology", "words"), OUT_OF_PROCESS)
def test_what_pulumi_up_shows_of_it_is_one_error_without_a_traceback(
    tmp_path: Path, values: Mapping[str, str], topology: str | None, words: list[str]
) -> None:
    if topology is not None:
        (tmp_path / "polybus.toml").write_text(topology)
    program = [
        sys.executable,
        "-W",
        "error::RuntimeWarning",
        "-m",
        "tests.provision.shown",
        str(tmp_path),
        json.dumps(values),
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (1, "registered: []\n")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for part in words:
        assert part in done.stderr


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
        (
            *("aws", "vpcEndpoints", "vpce-1a2b3c4d"),
            "structured configuration, as `pulumi config set --path 'polybus:vpcEndpoints[0]' <value>` writes it",
        ),
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
    assert "instead: sku" in refusal(tmp_path, {"cloud": "azure", "subnet": SUBNET})


@pytest.mark.parametrize(
    ("cloud", "values", "place", "allowed"),
    [
        (
            "azure",
            {"principals": {"writer": "the-writer"}},
            "principals.writer: found 'the-writer'",
            "an object id in Entra",
        ),
        ("azure", {"functions": {"resize": {"id": "x"}}}, "functions.resize: found 'x'", "an object id in Entra"),
        (
            "azure",
            {"principals": {"writer": {"id": ID, "type": "ServicePrinciple"}}},
            "principals.writer.type: found 'ServicePrinciple'",
            "ServicePrincipal, User, Group",
        ),
        ("azure", {"subnet": "my-subnet", "sku": "Premium"}, "subnet: found 'my-subnet'", "a resource id, .../virtual"),
        (
            "azure",
            {"sku": "Premium", "customerKey": {"vaultUri": "v.vault.azure.net", "keyName": "k", "identity": "me"}},
            "customerKey.vaultUri: found 'v.vault.azure.net'",
            "a URL, https://<vault>/\nPulumi.dev.yaml: polybus:customerKey.identity: found 'me'; allowed: a resource",
        ),
        (
            "azure",
            {"proxy": "http://me:secret@proxy:3128"},
            "proxy: found 'http://...@proxy:3128'",
            "http://<host>:<port>",
        ),
        ("azure", {"proxy": "proxy:3128"}, "proxy: found 'proxy:3128'", "http://<host>:<port>"),
        ("azure", {"transport": "udp"}, "transport: found 'udp'", "amqp, websocket"),
        ("azure", {"publicAccess": "false"}, "publicAccess: found False", "true, or sku: Premium with subnet"),
        (
            "gcp",
            {"members": {"writer": "w@p.iam.gserviceaccount.com"}},
            "members.writer: found 'w@p.iam.gserviceaccount.com'",
            "a member of IAM with its kind before it, such as serviceAccount:w@p.iam.gserviceaccount.com",
        ),
        (
            "gcp",
            {"members": {"writer": "allUsers"}},
            "members.writer: found 'allUsers'",
            "a member of IAM with its kind",
        ),
        (
            "gcp",
            {"pushAccount": "serviceAccount:push@p.iam.gserviceaccount.com"},
            "pushAccount: found 'serviceAccount:push@p.iam.gserviceaccount.com'",
            "the e-mail of a service account alone: push@p.iam.gserviceaccount.com",
        ),
        (
            "gcp",
            {"endpoint": "https://x.example/"},
            "endpoint: found 'https://x.example/'",
            "HOST or HOST:PORT, such as",
        ),
        (
            "gcp",
            {"serviceIdentity": "false", "gcp:universeDomain": "example.goog"},
            "serviceIdentity: found False",
            "true: in another universe only Google says",
        ),
        ("gcp", {"projectNumber": "my-project"}, "projectNumber: found 'my-project'", "the project's number, digits"),
    ],
)
def test_what_the_cloud_would_refuse_in_the_middle_of_an_update(
    tmp_path: Path, cloud: str, values: Mapping[str, object], place: str, allowed: str
) -> None:
    given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    words = refusal(tmp_path, {"cloud": cloud, **given})
    assert words.startswith(f"Pulumi.dev.yaml: polybus:{place}; allowed: {allowed}")


MEMBERS = (
    "serviceAccount:w@p.iam.gserviceaccount.com",
    "serviceAccount:p.svc.id.goog[shop/writer]",
    "group:operators@example.com",
    "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/s",
    "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*",
)


@pytest.mark.parametrize("member", MEMBERS)
def test_every_kind_of_member_passes(tmp_path: Path, member: str) -> None:
    done = deploy(tmp_path, {"cloud": "gcp", "members": json.dumps({"writer": member})})
    [right] = [one for one in done.resources if one.inputs.get("member") == member]
    assert right.inputs["role"] == "roles/pubsub.publisher"


def test_settings_of_a_program_s_own_are_held_to_the_same(tmp_path: Path) -> None:
    settings = azure.AzureSettings(principals={"writer": azure.Principal("the-writer")})
    (tmp_path / "polybus.toml").write_text(SMALL)

    def program() -> None:
        MessageBus("small", topology=tmp_path / "polybus.toml", cloud="azure", settings=settings)

    with pytest.raises(ConfigError, match=r"^azure principals\.writer: found 'the-writer'; allowed: an object id"):
        runner.run(program, simulated.create)


@pytest.mark.parametrize(
    ("cloud", "domain"),
    [
        (None, "servicebus.windows.net"),
        ("public", "servicebus.windows.net"),
        ("usgovernment", "servicebus.usgovcloudapi.net"),
        ("china", "servicebus.chinacloudapi.cn"),
    ],
)
@pytest.mark.parametrize("by", ["config", "environment"])
def test_a_namespace_is_found_in_the_cloud_that_it_is_in(
    tmp_path: Path, cloud: str | None, domain: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARM_ENVIRONMENT", raising=False)
    values = {"cloud": "azure", "namespace": "the-bus"}
    if cloud is not None and by == "environment":
        monkeypatch.setenv("ARM_ENVIRONMENT", cloud)
    elif cloud is not None:
        values["azure-native:environment"] = cloud
    done = deploy(tmp_path, values)
    assert done.outputs["polybus"]["settings"]["namespace"] == f"the-bus.{domain}"
    assert done.outputs["namespace"]["host"] == f"the-bus.{domain}"


def test_google_services_are_told_where_to_reach_pubsub(tmp_path: Path) -> None:
    values = {"cloud": "gcp", "endpoint": "pubsub-shop.p.googleapis.com", "regions": '["us-east1"]'}
    assert deploy(tmp_path, values).outputs["polybus"]["settings"] == {"api_endpoint": "pubsub-shop.p.googleapis.com"}
    del values["endpoint"]
    assert deploy(tmp_path, values).outputs["polybus"]["settings"] == {"api_endpoint": "us-east1-pubsub.googleapis.com"}


def test_google_s_agent_is_left_alone_where_the_stack_may_not_ask_for_it(tmp_path: Path) -> None:
    identity = "gcp:projects/serviceIdentity:ServiceIdentity"
    assert [one.inputs["service"] for one in deploy(tmp_path, {"cloud": "gcp"}).of(identity)] == [
        "pubsub.googleapis.com"
    ]
    assert deploy(tmp_path, {"cloud": "gcp", "serviceIdentity": "false"}).of(identity) == []


def test_azure_services_are_told_how_to_get_there(tmp_path: Path) -> None:
    given = {"transport": "websocket", "proxy": "http://proxy.example.com:3128", "caFile": "/etc/ssl/ours.pem"}
    settings = deploy(tmp_path, {"cloud": "azure", "namespace": "the-bus", **given}).outputs["polybus"]["settings"]
    assert settings == {
        "namespace": "the-bus.servicebus.windows.net",
        "transport": "websocket",
        "proxy": "http://proxy.example.com:3128",
        "ca_file": "/etc/ssl/ours.pem",
    }


def test_an_unknown_azure_cloud(tmp_path: Path) -> None:
    words = refusal(tmp_path, {"cloud": "azure", "azure-native:environment": "gov"})
    assert words == "azure-native:environment: found 'gov'; allowed: public, usgovernment, china"


@pytest.mark.parametrize(
    ("cloud", "tags", "words"),
    [
        ("aws", {"aws:team": "a"}, "aws tags: found 'aws:team'; allowed: 1 to 128 letters"),
        ("aws", {"team": "a;b"}, "aws tags.team: found 'a;b'; allowed: up to 256 letters"),
        ("aws", {f"tag-{number}": "" for number in range(49)}, "aws tags: found 51, with polybus's own 2; allowed: 50"),
        ("aws", {"polybus-bus": "mine"}, "aws tags: found 'polybus-bus'; allowed: any other name"),
        ("azure", {"a<b": "c"}, "azure tags: found 'a<b'; allowed: 1 to 512 characters without"),
        ("gcp", {"Polybus-Stack": "mine"}, "gcp tags: found 'Polybus-Stack'; allowed: any other name"),
        ("gcp", {"Env": "a", "env": "b"}, "gcp tags: found 'Env' and 'env', which are both env there; keep one"),
        ("gcp", {"9lives": "x"}, "gcp tags: found '9lives'; allowed: a name that begins with a letter from a to z"),
    ],
)
def test_tags_that_a_cloud_does_not_take(tmp_path: Path, cloud: str, tags: Mapping[str, str], words: str) -> None:
    assert refusal(tmp_path, {"cloud": cloud, "tags": json.dumps(tags)}).startswith(words)


def test_tags_are_as_given_and_labels_as_google_takes_them(tmp_path: Path) -> None:
    given = json.dumps({"Cost Centre": "R+D / 7"})
    assert deploy(tmp_path, {"cloud": "aws", "tags": given}).named("small-jobs-queue").inputs["tags"] == {
        "polybus-bus": "small",
        "polybus-stack": "dev",
        "Cost Centre": "R+D / 7",
    }
    assert deploy(tmp_path, {"cloud": "gcp", "tags": given}).named("small-jobs-topic").inputs["labels"] == {
        "polybus-bus": "small",
        "polybus-stack": "dev",
        "cost-centre": "r-d---7",
    }


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("regions", '["Europe"]', "gcp regions: found 'Europe'; allowed: ids of regions, such as europe-west1"),
        ("kmsKey", "a-key", "gcp kmsKey: found 'a-key'; allowed: projects/<project>/locations/"),
    ],
)
def test_places_that_are_none_of_google_s(tmp_path: Path, key: str, value: str, words: str) -> None:
    assert refusal(tmp_path, {"cloud": "gcp", key: value}).startswith(words)


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


def test_a_namespace_needs_its_name_or_the_location_that_is_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(SMALL)
    values = {"polybus:cloud": "azure"}
    with pytest.raises(pulumi.RunError, match=r"polybus:namespace is not set: name it, or set azure-native:location"):
        runner.run(runner.main, simulated.create, values=values, root=tmp_path)
    named = {**values, "polybus:namespace": "the-team-s-own", "polybus:resourceGroup": "rg"}
    done = runner.run(runner.main, simulated.create, values=named, root=tmp_path)
    assert done.named("small-namespace").inputs["namespaceName"] == "the-team-s-own"


def test_an_azure_principal_may_say_what_it_is(tmp_path: Path) -> None:
    done = deploy(tmp_path, {"cloud": "azure", "principals": '{"writer": {"id": "' + ID + '", "type": "Group"}}'})
    assigned = done.named(f"small-{ID}.news-sender").inputs
    assert (assigned["principalId"], assigned["principalType"]) == (ID, "Group")


@pytest.mark.parametrize("stack", sorted(path.name.split(".")[1] for path in runner.STACKS.glob("Pulumi.*.yaml")))
def test_no_export_holds_a_secret(stack: str) -> None:
    text = str(runner.run_stack(stack, simulated.create, look=simulated.look).outputs).lower()
    assert not [word for word in ("sharedaccesskey", "secret", "password", "connectionstring", "token") if word in text]
