"""Schemas of both kinds, their revisions, and messages that are checked by them."""

from __future__ import annotations

import io
import json

import fastavro
import grpc
import pytest
from google.api_core import exceptions
from google.pubsub_v1 import SchemaServiceClient
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport

from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import running_in_thread

PARENT = "projects/local"
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": []}}},
        {"name": "first", "type": ["null", "Line"]},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OPEN", "DONE"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 16}},
        {"name": "when", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
    ],
}


@pytest.fixture
def schemas(server):
    channel = grpc.insecure_channel(f"{server.host}:{server.port}")
    yield SchemaServiceClient(transport=SchemaServiceGrpcTransport(channel=channel))
    channel.close()


def create(schemas, name, definition, kind="AVRO"):
    schema = {"type_": kind, "definition": definition}
    return schemas.create_schema(parent=PARENT, schema=schema, schema_id=name)


def test_an_avro_schema_comes_and_goes(schemas):
    created = create(schemas, "order", json.dumps(ORDER))
    assert created.name == "projects/local/schemas/order"
    assert created.revision_id
    assert schemas.get_schema(name=created.name).definition == json.dumps(ORDER)
    [listed] = schemas.list_schemas(parent=PARENT)
    assert (listed.name, listed.definition) == (created.name, "")
    with pytest.raises(exceptions.AlreadyExists):
        create(schemas, "order", '"string"')
    schemas.delete_schema(name=created.name)
    with pytest.raises(exceptions.NotFound):
        schemas.get_schema(name=created.name)


@pytest.mark.parametrize(
    "definition",
    [
        "", "{", "[]", "null", "3", '"text"', "{}", '{"type": "record", "name": "R"}', "[[]]", '["null", ["int"]]',
        '{"type": "record", "name": "1R", "fields": []}',
        '{"type": "record", "name": "R", "fields": [{"name": "a"}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "S"}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}',
        '{"type": "record", "name": "R", "fields": ["a"]}',
        '{"type": "enum", "name": "E", "symbols": []}', '{"type": "enum", "name": "E", "symbols": ["A", "A"]}',
        '{"type": "fixed", "name": "F", "size": "4"}', '{"type": "array"}', '{"type": "map", "values": "x"}',
        '["int", {"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 4}]',
    ],
)  # fmt: skip
def test_what_is_no_avro_schema_is_refused(schemas, definition):
    schema = {"type_": "AVRO", "definition": definition}
    with pytest.raises(exceptions.InvalidArgument, match="Invalid schema definition"):
        schemas.validate_schema(parent=PARENT, schema=schema)
    with pytest.raises(exceptions.InvalidArgument):
        create(schemas, "order", definition)


def test_a_valid_schema_is_called_valid(schemas):
    schemas.validate_schema(parent=PARENT, schema={"type_": "AVRO", "definition": json.dumps(ORDER)})


PROTO = """
syntax = "proto3";
package shop;
/* an order */
message Order {
  string id = 1;  // its own
  repeated Line lines = 2;
  optional int32 count = 3 [deprecated = true];
  map<string, int64> tags = 4;
  oneof paid { string card = 5; bytes cash = 6; }
  message Line { int32 number = 1; State state = 2; }
  enum State { OPEN = 0; DONE = -1; }
  reserved 7, 8;
}
"""
VALUE = {
    "id": "a", "lines": [{}], "first": {"shop.Line": {}}, "state": "OPEN", "hash": "0" * 16, "when": 1,
    "tags": {"b": 2},
}  # fmt: skip


def validate(schemas, schema, message, encoding="JSON"):
    given = {"name": schema} if isinstance(schema, str) else {"schema": schema}
    schemas.validate_message(request={"parent": PARENT, "message": message, "encoding": encoding, **given})


def test_a_schema_has_a_type(schemas):
    with pytest.raises(exceptions.InvalidArgument):
        create(schemas, "order", '"string"', "TYPE_UNSPECIFIED")


@pytest.mark.parametrize(
    "definition",
    [
        "", "message A {", "message A { B x = 1; }", "message A {} message B {}", 'import "x.proto"; message A {}',
        "message A { string a = 1; string b = 1; }", "message A { string a = 0; }", "message A { string a = x; }",
        'syntax = "proto3"; message A { required string a = 1; }', "message A { group G = 1 {} }", "service S {}", "%",
        "message A { map<string> a = 1; }", "message " * 100, "message A {" * 200,
        "enum E { A = 99999999999; } message A {}",
    ],
)  # fmt: skip
def test_what_is_no_protocol_buffer_schema_is_refused(schemas, definition):
    schema = {"type_": "PROTOCOL_BUFFER", "definition": definition}
    with pytest.raises(exceptions.InvalidArgument, match="Invalid schema definition"):
        schemas.validate_schema(parent=PARENT, schema=schema)


def test_messages_are_checked_by_an_avro_schema(schemas):
    schema = {"type_": "AVRO", "definition": json.dumps(ORDER)}
    validate(schemas, schema, json.dumps(VALUE).encode())
    for broken in (
        {},
        {**VALUE, "more": 1},
        {**VALUE, "when": "x"},
        {**VALUE, "first": {"Line": {}}},
        {**VALUE, "hash": ""},
    ):
        with pytest.raises(exceptions.InvalidArgument, match="Invalid message"):
            validate(schemas, schema, json.dumps(broken).encode())
    written = io.BytesIO()
    parsed = fastavro.parse_schema(json.loads(json.dumps(ORDER)))
    fastavro.schemaless_writer(written, parsed, {**VALUE, "first": {}, "hash": b"0" * 16})
    validate(schemas, schema, written.getvalue(), "BINARY")
    for broken in (b"", written.getvalue()[:-1], written.getvalue() + b"x"):
        with pytest.raises(exceptions.InvalidArgument, match="Invalid message"):
            validate(schemas, schema, broken, "BINARY")
    with pytest.raises(exceptions.InvalidArgument, match="encoding"):
        validate(schemas, schema, b"", "ENCODING_UNSPECIFIED")


def test_messages_are_checked_by_a_protocol_buffer_schema(schemas):
    name = create(schemas, "order", PROTO, "PROTOCOL_BUFFER").name
    validate(schemas, name, b'{"id": "a", "lines": [{"state": "DONE"}], "tags": {"b": "2"}}')
    validate(schemas, name, b"\x0a\x01a", "BINARY")
    for encoding, broken in (("JSON", b'{"nothing": 1}'), ("JSON", b"["), ("BINARY", b"\x0a\xff")):
        with pytest.raises(exceptions.InvalidArgument, match="Invalid message"):
            validate(schemas, name, broken, encoding)


def test_revisions_are_committed_rolled_back_and_deleted(schemas):
    first = create(schemas, "order", '"string"')
    name = first.name
    second = schemas.commit_schema(name=name, schema={"name": name, "type_": "AVRO", "definition": '"long"'})
    assert second.revision_id != first.revision_id
    assert schemas.get_schema(name=name).definition == '"long"'
    assert schemas.get_schema(name=f"{name}@{first.revision_id}").definition == '"string"'
    third = schemas.rollback_schema(name=name, revision_id=first.revision_id)
    assert third.definition == '"string"'
    listed = [one.revision_id for one in schemas.list_schema_revisions(request={"name": name, "page_size": 2})]
    assert listed == [third.revision_id, second.revision_id, first.revision_id]
    schemas.delete_schema_revision(name=f"{name}@{third.revision_id}")
    assert schemas.get_schema(name=name).definition == '"long"'
    schemas.delete_schema_revision(name=f"{name}@{second.revision_id}")
    with pytest.raises(exceptions.FailedPrecondition):
        schemas.delete_schema_revision(name=f"{name}@{first.revision_id}")
    for wrong in (f"{name}@{second.revision_id}", f"{name}@"):
        with pytest.raises((exceptions.NotFound, exceptions.InvalidArgument)):
            schemas.delete_schema_revision(name=wrong)
    with pytest.raises(exceptions.InvalidArgument):
        schemas.commit_schema(name=name, schema={"type_": "PROTOCOL_BUFFER", "definition": PROTO})
    for _ in range(19):
        schemas.commit_schema(name=name, schema={"type_": "AVRO", "definition": '"long"'})
    with pytest.raises(exceptions.FailedPrecondition):
        schemas.commit_schema(name=name, schema={"type_": "AVRO", "definition": '"long"'})


def test_a_topic_takes_what_is_of_its_schema_s_revisions(schemas, rig):
    first = create(schemas, "order", '"long"')
    with pytest.raises(exceptions.NotFound):
        rig.topic(schema_settings={"schema": f"{PARENT}/schemas/none", "encoding": "JSON"})
    with pytest.raises(exceptions.InvalidArgument):
        rig.topic(schema_settings={"schema": first.name})
    topic = rig.topic(schema_settings={"schema": first.name, "encoding": "JSON"})
    subscription = rig.subscription("billing", topic)

    def publish(data):
        return rig.publisher.publish(topic=topic, messages=[{"data": data}])

    publish(b"1")
    with pytest.raises(exceptions.InvalidArgument, match="Invalid message"):
        publish(b'"a"')
    second = schemas.commit_schema(name=first.name, schema={"type_": "AVRO", "definition": '"string"'})
    publish(b'"a"')
    publish(b"2")  # of the first, which is allowed still
    found = rig.subscriber.pull(subscription=subscription, max_messages=9).received_messages
    noted = [one.message.attributes["googclient_schemarevisionid"] for one in found]
    assert noted == [first.revision_id, second.revision_id, first.revision_id]
    assert {one.message.attributes["googclient_schemaname"] for one in found} == {first.name}
    assert {one.message.attributes["googclient_schemaencoding"] for one in found} == {"JSON"}
    changed = {"name": topic, "schema_settings": {"first_revision_id": second.revision_id}}
    rig.publisher.update_topic(
        request={"topic": changed, "update_mask": {"paths": ["schema_settings.first_revision_id"]}}
    )
    with pytest.raises(exceptions.InvalidArgument):
        publish(b"3")
    wrong = {"name": topic, "schema_settings": {"last_revision_id": first.revision_id}}
    with pytest.raises(exceptions.InvalidArgument, match="later"):
        rig.publisher.update_topic(
            request={"topic": wrong, "update_mask": {"paths": ["schema_settings.last_revision_id"]}}
        )
    schemas.delete_schema(name=first.name)
    assert rig.publisher.get_topic(topic=topic).schema_settings.schema == "_deleted-schema_"
    with pytest.raises(exceptions.FailedPrecondition):
        publish(b'"a"')


def test_revisions_outlive_the_process(tmp_path):
    for number in (1, 2):
        with running_in_thread(PubsubServer(data=tmp_path)) as server:
            channel = grpc.insecure_channel(f"{server.host}:{server.port}")
            schemas = SchemaServiceClient(transport=SchemaServiceGrpcTransport(channel=channel))
            if number == 1:
                name = create(schemas, "order", '"string"').name
            schemas.commit_schema(name=name, schema={"type_": "AVRO", "definition": '"long"'})
            assert len(list(schemas.list_schema_revisions(name=name))) == number + 1
            channel.close()
