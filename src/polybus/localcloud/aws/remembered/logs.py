"""Log groups, which have no logs."""

from __future__ import annotations

from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.remembered.service import Remembered, named, tags_of
from polybus.localcloud.aws.remembered.shelf import Document
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["LogsService"]


class LogsService(Remembered):
    """By region."""

    name = "logs"

    def __init__(self, account: str, rows: Rows, timeline: Timeline) -> None:
        super().__init__(account, rows)
        self._timeline = timeline
        self._groups = self.shelf("group")
        self.actions = {
            "AssociateKmsKey": lambda call, params: self._set(call, params, key=params.get("kmsKeyId")),
            "CreateLogGroup": self._create,
            "DeleteLogGroup": self._delete,
            "DeleteRetentionPolicy": lambda call, params: self._set(call, params, days=None),
            "DescribeLogGroups": self._describe,
            "DisassociateKmsKey": lambda call, params: self._set(call, params, key=None),
            "ListTagsForResource": lambda call, params: {"tags": self._tagged(params)[1]["tags"]},
            "PutRetentionPolicy": lambda call, params: self._set(call, params, days=params.get("retentionInDays")),
            "TagResource": self._tag,
            "UntagResource": self._untag,
        }

    def _create(self, call: Call, params: Params) -> dict[str, Any]:
        name = named(params, "logGroupName")
        key = f"{call.region}/{name}"
        if key in self._groups:
            raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists")
        group = {
            "name": name,
            "created": int(self._timeline.now() * 1000),
            "days": None,
            "key": params.get("kmsKeyId"),
            "class": params.get("logGroupClass") or "STANDARD",
            "tags": tags_of(params.get("tags")),
        }
        self._groups.put(key, group)
        return {}

    def _group(self, call: Call, params: Params) -> tuple[str, Document]:
        key = f"{call.region}/{named(params, 'logGroupName')}"
        found = self._groups.get(key)
        if found is None:
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        return key, found

    def _set(self, call: Call, params: Params, **changes: Any) -> dict[str, Any]:
        key, group = self._group(call, params)
        self._groups.put(key, group | changes)
        return {}

    def _delete(self, call: Call, params: Params) -> dict[str, Any]:
        key, _ = self._group(call, params)
        self._groups.drop(key)
        return {}

    def _describe(self, call: Call, params: Params) -> dict[str, Any]:
        found = self._groups.items(f"{call.region}/{params.get('logGroupNamePrefix') or ''}")
        return {"logGroups": [self._shown(call, group) for _, group in found]}

    def _shown(self, call: Call, group: Document) -> dict[str, Any]:
        arn = f"arn:aws:logs:{call.region}:{self.account}:log-group:{group['name']}"
        return {
            "logGroupName": group["name"],
            "creationTime": group["created"],
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "storedBytes": 0,
            "logGroupClass": group["class"],
            **({"retentionInDays": group["days"]} if group["days"] else {}),
            **({"kmsKeyId": group["key"]} if group["key"] else {}),
        }

    def _tagged(self, params: Params) -> tuple[str, Document]:
        parts = named(params, "resourceArn").removesuffix(":*").split(":", 6)
        key = f"{parts[3]}/{parts[6]}" if len(parts) == 7 else ""
        group = self._groups.get(key)
        if group is None:
            raise AwsError("ResourceNotFoundException", "The specified resource does not exist.")
        return key, group

    def _tag(self, call: Call, params: Params) -> dict[str, Any]:
        key, group = self._tagged(params)
        group["tags"] |= tags_of(params.get("tags"))
        self._groups.put(key, group)
        return {}

    def _untag(self, call: Call, params: Params) -> dict[str, Any]:
        key, group = self._tagged(params)
        for name in params.get("tagKeys") or ():
            group["tags"].pop(name, None)
        self._groups.put(key, group)
        return {}
