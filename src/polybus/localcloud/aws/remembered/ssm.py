"""Parameters: texts by name, which a service can read its binding from."""

from __future__ import annotations

from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.remembered.service import Remembered, named, tag_list, tags_of
from polybus.localcloud.aws.remembered.shelf import Document
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["SsmService"]

_MOST = {"Standard": 4_096, "Advanced": 8_192}  # bytes of a value (Systems Manager User Guide, parameter tiers)


class SsmService(Remembered):
    """By region. A SecureString is kept in clear: there is no key here to keep it by."""

    name = "ssm"

    def __init__(self, account: str, rows: Rows, timeline: Timeline) -> None:
        super().__init__(account, rows)
        self._timeline = timeline
        self._parameters = self.shelf("parameter")
        self.actions = {
            "AddTagsToResource": self._tag,
            "DeleteParameter": self._delete,
            "DescribeParameters": self._describe,
            "GetParameter": lambda call, params: {"Parameter": self._shown(call, self._found(call, params)[1])},
            "GetParameters": self._several,
            "ListTagsForResource": lambda call, params: {"TagList": tag_list(self._tagged(call, params)[1])},
            "PutParameter": self._put,
            "RemoveTagsFromResource": self._untag,
        }

    def _found(self, call: Call, params: Params, name: str = "Name") -> tuple[str, Document]:
        wanted = named(params, name)
        key = f"{call.region}/{wanted.rpartition(':parameter')[2] if wanted.startswith('arn:') else wanted}"
        found = self._parameters.get(key)
        if found is None:
            raise AwsError("ParameterNotFound", f"The parameter {wanted} was not found.")
        return key, found

    def _put(self, call: Call, params: Params) -> dict[str, Any]:
        name, value = named(params, "Name"), named(params, "Value")
        key, tier = f"{call.region}/{name}", params.get("Tier") or "Standard"
        before = self._parameters.get(key)
        if before is not None and not params.get("Overwrite"):
            raise AwsError("ParameterAlreadyExists", "The parameter already exists: set Overwrite to change it.")
        if tier == "Intelligent-Tiering":
            tier = "Standard" if len(value.encode()) <= _MOST["Standard"] else "Advanced"
        if len(value.encode()) > _MOST.get(tier, 0):
            raise AwsError("ValidationException", f"{tier} tier parameters support a maximum of {_MOST[tier]} bytes.")
        kept = before or {"version": 0, "tags": tags_of(params.get("Tags")), "type": "String", "description": ""}
        parameter = kept | {
            "name": name,
            "value": value,
            "tier": tier,
            "version": kept["version"] + 1,
            "changed": self._timeline.now(),
            "type": params.get("Type") or kept["type"],
            "description": params.get("Description") or kept["description"],
            "key": params.get("KeyId"),
            "data": params.get("DataType") or "text",
        }
        self._parameters.put(key, parameter)
        return {"Version": parameter["version"], "Tier": tier}

    def _shown(self, call: Call, parameter: Document) -> dict[str, Any]:
        place = parameter["name"] if parameter["name"].startswith("/") else f"/{parameter['name']}"
        return {
            "Name": parameter["name"],
            "Type": parameter["type"],
            "Value": parameter["value"],
            "Version": parameter["version"],
            "LastModifiedDate": parameter["changed"],
            "ARN": f"arn:aws:ssm:{call.region}:{self.account}:parameter{place}",
            "DataType": parameter["data"],
        }

    def _several(self, call: Call, params: Params) -> dict[str, Any]:
        names = list(params.get("Names") or ())
        found = [self._parameters.get(f"{call.region}/{name}") for name in names]
        return {
            "Parameters": [self._shown(call, each) for each in found if each is not None],
            "InvalidParameters": [name for name, each in zip(names, found, strict=True) if each is None],
        }

    def _describe(self, call: Call, params: Params) -> dict[str, Any]:
        wanted: set[str] | None = None
        for one in params.get("ParameterFilters") or ():
            if one.get("Key") == "Name":
                wanted = set(one.get("Values") or ())
        shown = []
        for _, parameter in self._parameters.items(f"{call.region}/"):
            if wanted is None or parameter["name"] in wanted:
                row = self._shown(call, parameter)
                del row["Value"]
                row |= {"Tier": parameter["tier"], "Policies": []}
                row |= {"Description": parameter["description"]} if parameter["description"] else {}
                row |= {"KeyId": parameter["key"]} if parameter["key"] else {}
                shown.append(row)
        return {"Parameters": shown}

    def _delete(self, call: Call, params: Params) -> dict[str, Any]:
        key, _ = self._found(call, params)
        self._parameters.drop(key)
        return {}

    def _tagged(self, call: Call, params: Params) -> tuple[str, Document]:
        if params.get("ResourceType") != "Parameter":
            raise AwsError("InvalidResourceType", "This server tags parameters alone.")
        return self._found(call, params, "ResourceId")

    def _tag(self, call: Call, params: Params) -> dict[str, Any]:
        key, parameter = self._tagged(call, params)
        parameter["tags"] |= tags_of(params.get("Tags"))
        self._parameters.put(key, parameter)
        return {}

    def _untag(self, call: Call, params: Params) -> dict[str, Any]:
        key, parameter = self._tagged(call, params)
        for name in params.get("TagKeys") or ():
            parameter["tags"].pop(name, None)
        self._parameters.put(key, parameter)
        return {}
