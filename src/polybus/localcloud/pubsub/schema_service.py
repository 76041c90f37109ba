"""google.pubsub.v1.SchemaService: Avro and Protocol Buffer schemas, their revisions, and messages checked by them."""

from __future__ import annotations

from collections.abc import Mapping

from polybus.localcloud.pubsub import protocol
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.names import check_name, check_project
from polybus.localcloud.pubsub.paging import page
from polybus.localcloud.pubsub.protocol import EMPTY, Proto, copy
from polybus.localcloud.pubsub.refusal import invalid
from polybus.localcloud.pubsub.schema import check_definition, check_message, split, stamp
from polybus.localcloud.pubsub.wire import Context, Method

__all__ = ["SchemaService"]

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
            "ListSchemaRevisions": (protocol.ListSchemaRevisionsRequest, self.list_schema_revisions),
            "CommitSchema": (protocol.CommitSchemaRequest, self.commit_schema),
            "RollbackSchema": (protocol.RollbackSchemaRequest, self.rollback_schema),
            "DeleteSchemaRevision": (protocol.DeleteSchemaRevisionRequest, self.delete_schema_revision),
            "ValidateMessage": (protocol.ValidateMessageRequest, self.validate_message),
        }

    async def create_schema(self, request: Proto, _: Context) -> Proto:
        check_project(request.parent)
        schema = request.schema
        schema.name = f"{request.parent}/schemas/{request.schema_id}"
        check_name(schema.name, "schemas")
        check_definition(schema)
        stamp(schema, self._catalog.clock.time())
        self._catalog.create_schema(copy(schema))
        await self._catalog.journal.commit()
        return schema

    async def get_schema(self, request: Proto, _: Context) -> Proto:
        # An unset view is FULL here, and BASIC in listings, as the API's reference has it.
        name, revision = split(request.name)
        found = self._catalog.schema(name).revision(revision)
        shown = _view(found, request.view or _FULL)
        if revision:
            shown.name = request.name
        return shown

    async def list_schemas(self, request: Proto, _: Context) -> Proto:
        check_project(request.parent)
        mine = {
            name: _view(schema.latest, request.view)
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
        check_definition(request.schema)
        return protocol.ValidateSchemaResponse()

    # -- revisions

    async def list_schema_revisions(self, request: Proto, _: Context) -> Proto:
        name, _revision = split(request.name)
        newest = reversed(self._catalog.schema(name).revisions)
        # Listed from the newest on: by how many are newer, in digits that sort.
        numbered = {f"{number:04d}": _view(one, request.view) for number, one in enumerate(newest)}
        shown, token = page(numbered, request.page_size, request.page_token)
        return protocol.ListSchemaRevisionsResponse(schemas=shown, next_page_token=token)

    async def commit_schema(self, request: Proto, _: Context) -> Proto:
        schema = self._catalog.schema(request.name)
        given = request.schema
        if given.type_ != schema.latest.type_:
            raise invalid("A revision must have the type of its schema.")
        check_definition(given)
        committed = schema.commit(given.definition, self._catalog.clock.time())
        return await self._changed(request.name, committed)

    async def rollback_schema(self, request: Proto, _: Context) -> Proto:
        schema = self._catalog.schema(request.name)
        if not request.revision_id:
            raise invalid("The request must name a revision_id to roll back to.")
        definition = schema.revision(request.revision_id).definition
        return await self._changed(request.name, schema.commit(definition, self._catalog.clock.time()))

    async def delete_schema_revision(self, request: Proto, _: Context) -> Proto:
        name, revision = split(request.name)
        revision = revision or request.revision_id
        if not revision:
            raise invalid("The name must have a revision, as in projects/P/schemas/S@REVISION.")
        schema = self._catalog.schema(name)
        schema.drop(revision)
        return await self._changed(name, schema.latest)

    async def _changed(self, name: str, answer: Proto) -> Proto:
        self._catalog.save_schema(name)
        await self._catalog.journal.commit()
        return answer

    # -- messages

    async def validate_message(self, request: Proto, _: Context) -> Proto:
        check_project(request.parent)
        if request.WhichOneof("schema_spec") == "name":
            name, revision = split(request.name)
            schema = self._catalog.schema(name).revision(revision)
        else:
            schema = request.schema
            check_definition(schema)
        check_message(schema, request.encoding, request.message)
        return protocol.ValidateMessageResponse()


def _view(schema: Proto, view: int) -> Proto:
    shown = copy(schema)
    if view != _FULL:
        shown.ClearField("definition")
    return shown
