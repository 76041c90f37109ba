"""Contracts in a topology: read by `polybus check`, held to at publish, compared with what was before."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import polybus
from polybus import FaultKind, PublishFailed

TOPOLOGY = """
[bus]
name = "shop"

[topics.orders]
schema = "messages_of_shop:Order"

[subscriptions.billing]
topic = "orders"

[queues.mails]
schema = "contracts/mail.json"

[queues.free]
"""
TYPES = """
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    OPEN = "open"
    PAID = "paid"


@dataclass
class Order:
    id: str
    total: float
    state: State = State.OPEN
"""
MAIL = {"type": "object", "properties": {"to": {"type": "string", "minLength": 3}}, "required": ["to"]}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make(tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.delenv("POLYBUS_BINDING", raising=False)
    before = list(sys.path)
    yield tmp_path / "shop"
    sys.path[:] = before
    sys.modules.pop("messages_of_shop", None)


def make(folder: Path, *, types: str = TYPES, mail: Any = MAIL, topology: str = TOPOLOGY) -> None:
    (folder / "contracts").mkdir(parents=True)
    (folder / "polybus.toml").write_text(topology)
    (folder / "messages_of_shop.py").write_text(types)
    (folder / "contracts" / "mail.json").write_text(json.dumps(mail))


def test_check_reads_contracts(cli: Callable, shop: Path) -> None:
    result = cli("check", "--no-notes")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == "contracts: ok, 2 declared"


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ("messages_of_shop:Ordre", "messages_of_shop has no Ordre"),
        ("no_such_module:Order", "no_such_module can't be imported"),
        ("messages_of_shop:dataclass", "is no type of messages"),
        ("contracts/none.json", "No such file"),
        ("messages_of_shop.py", "found"),
    ],
)
def test_check_names_the_path_of_a_contract_that_is_not_there(
    cli: Callable, shop: Path, schema: str, found: str
) -> None:
    (shop / "polybus.toml").write_text(TOPOLOGY.replace("messages_of_shop:Order", schema))
    result = cli("check", "--no-notes")
    assert result.code == 1
    told = " ".join((result.out + result.err).split())
    assert "$.topics.orders.schema" in told
    assert found in told


def test_a_schema_that_is_not_well_formed_is_refused(cli: Callable, shop: Path) -> None:
    (shop / "contracts" / "mail.json").write_text(json.dumps({"type": "object", "properties": {"to": {"type": "txt"}}}))
    result = cli("check", "--json")
    assert result.code == 1
    [finding] = result.json()["contracts"]["findings"]
    assert finding["path"] == "$.queues.mails.schema"
    assert "at $.to: the type 'txt'" in finding["found"]


async def test_publish_refuses_what_is_not_of_the_contract_with_target_and_place(shop: Path) -> None:
    async with polybus.connect(shop / "polybus.toml") as bus:
        await bus.publish("orders", {"id": "1", "total": 2})
        await bus.publish("mails", {"to": "ada"})
        await bus.publish("free", {"anything": 1})
        for target, body, told in (
            ("orders", {"id": 1, "total": 2}, "$.id"),
            ("orders", {"id": "1", "total": 2, "state": "sent"}, "$.state"),
            ("orders", {"id": "1", "total": 2, "note": "x"}, "a property that is not declared"),
            ("orders", b"\xff", "not JSON"),
            ("mails", {"to": "a"}, "at $.to: a text that is too short"),
            ("mails", {}, "at $.to: required"),
        ):
            with pytest.raises(PublishFailed) as caught:
                await bus.publish(target, body)
            [fault] = caught.value.faults
            assert fault.kind is FaultKind.INVALID
            assert repr(target) in fault.detail
            assert told in fault.detail
        stats = await bus.stats("billing")
        assert stats.waiting == 1


async def test_of_several_only_those_fail_that_are_not_of_the_contract(shop: Path) -> None:
    async with polybus.connect(shop / "polybus.toml") as bus:
        outcomes = await bus.publish_many("mails", [{"to": "ada"}, {"to": 1}, {"to": "bob"}], outcomes=True)
        assert [isinstance(outcome, polybus.Sent) for outcome in outcomes] == [True, False, True]
        stats = await bus.stats("mails")
        assert stats.waiting == 2


async def test_a_value_of_the_declared_type_is_checked_too(shop: Path) -> None:
    async with polybus.connect(shop / "polybus.toml") as bus:
        await bus.publish("free", {})
        await bus.publish("orders", {"id": "1", "total": 2})  # imports the types
        types = sys.modules["messages_of_shop"]
        await bus.publish("orders", types.Order("1", 2.0))
        with pytest.raises(PublishFailed, match=r"\$\.total"):
            await bus.publish("orders", types.Order("1", "two"))


async def test_a_contract_that_is_not_there_is_told_by_the_first_publish(shop: Path) -> None:
    (shop / "contracts" / "mail.json").unlink()
    async with polybus.connect(shop / "polybus.toml") as bus:
        with pytest.raises(polybus.ConfigError, match=r"\$\.queues\.mails\.schema"):
            await bus.publish("mails", {"to": "ada"})


def old_and_new(tmp_path: Path, shop: Path, **new: Any) -> Path:
    """Keep what there is as the old version, and make a new one in its place; return the old topology."""
    shutil.copytree(shop, tmp_path / "old")
    shutil.rmtree(shop / "contracts")
    make(shop, **new)
    return tmp_path / "old" / "polybus.toml"


def test_against_an_old_version_what_breaks_a_reader_is_refused(cli: Callable, tmp_path: Path, shop: Path) -> None:
    new = TYPES.replace('    PAID = "paid"\n', "").replace("    total: float\n", "    total: float\n    who: str\n")
    old = old_and_new(tmp_path, shop, types=new)
    result = cli("check", "--against", str(old), "--json")
    assert result.code == 1
    breaks = result.json()["contracts"]["breaks"]
    assert {(each["rule"], each["place"], each["side"]) for each in breaks} == {
        ("required-field-added", "$.who", "backward"),
        ("value-removed", "$.state", "backward"),
    }
    assert breaks[0]["path"] == "$.topics.orders"
    assert breaks[0]["readers"] == ["billing"]
    assert all("example" in each for each in breaks)
    shown = cli("check", "--against", str(old), "--no-notes")
    assert "would break readers" in shown.out
    assert "such as: {" in shown.out


def test_what_nobody_reads_breaks_nobody(cli: Callable, tmp_path: Path, shop: Path) -> None:
    new = TYPES.replace("    total: float\n", "    total: float\n    who: str\n")
    without = TOPOLOGY.replace('[subscriptions.billing]\ntopic = "orders"\n', "")
    old = old_and_new(tmp_path, shop, types=new, topology=without)
    assert cli("check", "--against", str(old), "--no-notes", "--allow-replace").code == 0


@pytest.mark.parametrize(("compatibility", "code"), [("forward", 0), ("backward", 1), ("none", 0), ("full", 1)])
def test_compatibility_says_whose_reading_is_guarded(
    cli: Callable, tmp_path: Path, shop: Path, compatibility: str, code: int
) -> None:
    new = TYPES.replace("    total: float\n", "    total: float\n    who: str\n")
    chosen = TOPOLOGY.replace("[topics.orders]\n", f'[topics.orders]\ncompatibility = "{compatibility}"\n')
    old = old_and_new(tmp_path, shop, types=new, topology=chosen)
    assert cli("check", "--against", str(old), "--no-notes").code == code


def test_a_folder_of_schemas_is_what_a_change_is_compared_with(cli: Callable, shop: Path) -> None:
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    assert json.loads((shop / "kept" / "mails.json").read_text()) == MAIL
    assert cli("check", "--against", "kept", "--no-notes").code == 0
    (shop / "contracts" / "mail.json").write_text(json.dumps({**MAIL, "required": ["to", "cc"]}))
    result = cli("check", "--against", "kept", "--json")
    assert result.code == 1
    assert [each["place"] for each in result.json()["contracts"]["breaks"]] == ["$.cc"]


def test_types_that_would_be_compared_with_themselves_are_told_of(cli: Callable, shop: Path) -> None:
    shutil.copy(shop / "polybus.toml", shop / "old.toml")
    result = cli("check", "--against", "old.toml", "--no-notes")
    assert result.code == 0
    assert "compared with itself" in result.err


def test_asyncapi_has_the_schemas_as_payloads_whose_references_lead_somewhere(cli: Callable, shop: Path) -> None:
    document = cli("export", "asyncapi").json()
    messages = document["components"]["messages"]
    assert messages["mails"]["payload"] == MAIL
    reference = messages["orders"]["payload"]["$ref"]
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part]
    assert set(found["properties"]) == {"id", "total", "state"}
    assert "payload" not in messages["free"]


AVRO_TOPOLOGY = TOPOLOGY.replace("messages_of_shop:Order", "contracts/order.avsc")
STATE = {"type": "enum", "name": "State", "symbols": ["OPEN", "PAID"]}
ID = {"name": "id", "type": "string"}
AVRO = {"type": "record", "name": "Order", "fields": [ID, {"name": "state", "type": STATE}]}
FEWER = {**AVRO, "fields": [ID, {"name": "state", "type": {**STATE, "symbols": ["OPEN"]}}]}
WHO = {"name": "who", "type": ["null", "string"], "default": None}
NULLABLE = {**AVRO, "fields": [ID, {"name": "state", "type": STATE}, WHO]}


def avro(shop: Path, schema: Any, **known: Any) -> None:
    """Have the topic's schema in Avro, and others of it beside it."""
    (shop / "polybus.toml").write_text(AVRO_TOPOLOGY)
    for path in (shop / "contracts").glob("order.*"):
        path.unlink()
    for name, each in {"order": schema, **{f"order.{name}": each for name, each in known.items()}}.items():
        (shop / "contracts" / f"{name}.avsc").write_text(json.dumps(each))


def rules(result: Any) -> set[tuple[str, str, str]]:
    breaks = result.json()["contracts"]["breaks"]
    return {(each["rule"], each["place"], each["side"]) for each in breaks}


def test_changes_of_an_avro_schema_are_held_to_its_readers(cli: Callable, tmp_path: Path, shop: Path) -> None:
    avro(shop, AVRO)
    assert cli("check", "--no-notes").out.splitlines()[0] == "contracts: ok, 2 declared"
    shutil.copytree(shop, tmp_path / "old")
    against = ("check", "--against", str(tmp_path / "old" / "polybus.toml"), "--json")
    assert rules(cli(*against)) == set()
    avro(shop, FEWER)
    unknown = {("schema-not-known", "$", "backward"), ("schema-not-known", "$", "forward")}
    result = cli(*against)
    assert result.code == 1
    assert rules(result) == {("value-removed", "$.state", "backward"), *unknown}
    by_rule = {each["rule"]: each for each in result.json()["contracts"]["breaks"]}
    assert by_rule["value-removed"]["example"] == {"id": "", "state": "PAID"}
    assert "order.NAME.avsc" in by_rule["schema-not-known"]["detail"]


def test_an_avro_schema_changes_in_two_steps(cli: Callable, shop: Path) -> None:
    avro(shop, AVRO)
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    avro(shop, NULLABLE, first=AVRO)
    against = ("check", "--against", "kept", "--json")
    assert rules(cli(*against)) == {("schema-not-known", "$", "forward")}
    avro(shop, AVRO, next=NULLABLE)  # the first step: readers have a copy of what will be sent
    assert rules(cli(*against)) == set()
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    avro(shop, NULLABLE, first=AVRO)
    assert rules(cli(*against)) == set()
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    kept = sorted(path.name for path in (shop / "kept").iterdir())
    assert len(kept) == 3
    assert {"mails.json", "orders.avsc"} < set(kept)
    assert json.loads((shop / "kept" / "orders.avsc").read_text()) == NULLABLE


def test_a_contract_that_changes_its_form_breaks_both_sides(cli: Callable, shop: Path) -> None:
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    avro(shop, AVRO)
    found = rules(cli("check", "--against", "kept", "--json"))
    assert found == {("format-replaced", "$", "backward"), ("format-replaced", "$", "forward")}
    assert cli("export", "jsonschema", "--out", "kept").code == 0
    assert not (shop / "kept" / "orders.json").exists()
    (shop / "kept" / "orders.json").write_text("{}")
    result = cli("check", "--against", "kept", "--json")
    [finding] = result.json()["contracts"]["findings"]
    assert "keep one" in finding["found"]


def test_an_avro_schema_that_is_not_well_formed_is_refused(cli: Callable, shop: Path) -> None:
    avro(shop, {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "text"}]})
    result = cli("check", "--json")
    assert result.code == 1
    [finding] = result.json()["contracts"]["findings"]
    assert finding["path"] == "$.topics.orders.schema"
    assert "at $.id: there is no type 'text'" in finding["found"]
    avro(shop, AVRO, old=[])
    [finding] = cli("check", "--json").json()["contracts"]["findings"]
    assert "order.old.avsc: at $: a union has no types" in finding["found"]


def test_documents_have_the_avro_schema(cli: Callable, shop: Path) -> None:
    avro(shop, AVRO)
    message = cli("export", "asyncapi").json()["components"]["messages"]["orders"]
    assert message["contentType"] == "avro/binary"
    assert message["payload"] == {"schemaFormat": "application/vnd.apache.avro;version=1.9.0", "schema": AVRO}
    assert cli("export", "jsonschema").json()["orders"] == AVRO
    shown = cli("catalogue").out
    assert "avro/binary" in shown
    assert "&quot;symbols&quot;" in shown
