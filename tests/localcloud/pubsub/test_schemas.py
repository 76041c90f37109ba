"""The schema service: Avro schemas, and an honest no to the rest."""

from __future__ import annotations

import json

import grpc
import pytest
from google.api_core import exceptions
from google.pubsub_v1 import SchemaServiceClient
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport

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


def test_what_isnt_here_is_refused_as_such(schemas):
    with pytest.raises(exceptions.MethodNotImplemented, match="Protocol Buffer"):
        create(schemas, "order", 'syntax = "proto3";', "PROTOCOL_BUFFER")
    with pytest.raises(exceptions.InvalidArgument):
        create(schemas, "order", '"string"', "TYPE_UNSPECIFIED")
    created = create(schemas, "order", '"string"')
    with pytest.raises(exceptions.MethodNotImplemented, match="revisions"):
        schemas.list_schema_revisions(name=created.name)
    with pytest.raises(exceptions.MethodNotImplemented, match="validation"):
        schemas.validate_message(request={"parent": PARENT, "name": created.name, "message": b"x"})
