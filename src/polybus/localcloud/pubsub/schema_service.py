"""google.pubsub.v1.SchemaService: Avro schemas are kept and checked for being ones; the rest is refused."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from polybus.localcloud.pubsub import protocol
from polybus.localcloud.pubsub.avro import avro_problem
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.names import check_name, check_project
from polybus.localcloud.pubsub.paging import page
from polybus.localcloud.pubsub.protocol import EMPTY, Proto, copy, set_time
from polybus.localcloud.pubsub.refusal import invalid, unimplemented
from polybus.localcloud.pubsub.wire import Context, Method

__all__ = ["SchemaService"]

_PROTOCOL_BUFFER, _AVRO = 1, 2  # Schema.Type
_FULL = 2  # SchemaView.FULL


class SchemaService:
    NAME = "google.pubsub.v1.SchemaService"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def methods(self) -> Mapping[str, Method]:
        return {
            "CreateSchema": (protocol.CreateSchemaRequest, self.create_schema),
            "GetSchema": (protocol.GetSchemaRequest, self.get_schema),
            "ListSchemas": (protocol.ListSchemasRequest, self.list_schemas),
            "DeleteSchema": (protocol.DeleteSchemaRequest, self.delete_schema),
            "ValidateSchema": (protocol.ValidateSchemaRequest, self.validate_schema),
            "ListSchemaRevisions": (protocol.ListSchemaRevisionsRequest, _refuse("schema revisions")),
            "CommitSchema": (protocol.CommitSchemaRequest, _refuse("schema revisions")),
            "RollbackSchema": (protocol.RollbackSchemaRequest, _refuse("schema revisions")),
            "DeleteSchemaRevision": (protocol.DeleteSchemaRevisionRequest, _refuse("schema revisions")),
            "ValidateMessage": (protocol.ValidateMessageRequest, _refuse("message validation")),
        }

    async def create_schema(self, request: Proto, _: Context) -> Proto:
        check_project(request.parent)
        schema = request.schema
        schema.name = f"{request.parent}/schemas/{request.schema_id}"
        check_name(schema.name, "schemas")
        _check(schema)
        schema.revision_id = secrets.token_hex(4)
        set_time(schema.revision_create_time, self._catalog.clock.time())
        self._catalog.create_schema(copy(schema))
        await self._catalog.journal.commit()
        return schema

    async def get_schema(self, request: Proto, _: Context) -> Proto:
        # An unset view is FULL here, and BASIC in listings, as the API's reference has it.
        return _view(self._catalog.schema(request.name), request.view or _FULL)

    async def list_schemas(self, request: Proto, _: Context) -> Proto:
        check_project(request.parent)
        mine = {
            name: _view(schema, request.view)
            for name, schema in self._catalog.schemas.items()
            if name.startswith(f"{request.parent}/schemas/")
        }
        schemas, token = page(mine, request.page_size, request.page_token)
        return protocol.ListSchemasResponse(schemas=schemas, next_page_token=token)

    async def delete_schema(self, request: Proto, _: Context) -> Proto:
        self._catalog.delete_schema(request.name)
        await self._catalog.journal.commit()
        return EMPTY

    async def validate_schema(self, request: Proto, _: Context) -> Proto:
        check_project(request.parent)
        _check(request.schema)
        return protocol.ValidateSchemaResponse()


def _view(schema: Proto, view: int) -> Proto:
    shown = copy(schema)
    if view != _FULL:
        shown.ClearField("definition")
    return shown


def _check(schema: Proto) -> None:
    if schema.type_ == _PROTOCOL_BUFFER:
        raise unimplemented("Protocol Buffer schemas")
    if schema.type_ != _AVRO:
        raise invalid("The schema must have a type.")
    problem = avro_problem(schema.definition)
    if problem is not None:
        raise invalid(f"Invalid schema definition: {problem}.")


def _refuse(what: str):  # type: ignore[no-untyped-def]
    async def refuse(_request: Proto, _: Context) -> Proto:
        raise unimplemented(what)

    return refuse
