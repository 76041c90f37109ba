"""The Query protocol's requests: forms whose dotted names are paths into lists, maps and structures."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from polybus.localcloud.aws.errors import AwsError

__all__ = ["decode"]

_MAX_FIELDS = 4_000  # ten messages of a hundred attributes need 3,070; more is no request of an SDK's
_MAX_DEPTH = 8  # PublishBatchRequestEntries.member.N.MessageAttributes.entry.M.Value.StringValue

# SQS flattens its lists and names them in the singular: (name there, name in JSON, key and value of a map's entry).
_SQS_LISTS = {
    "AttributeName": "AttributeNames",
    "MessageAttributeName": "MessageAttributeNames",
    "MessageSystemAttributeName": "MessageSystemAttributeNames",
    "TagKey": "TagKeys",
    "ActionName": "Actions",
    "AWSAccountId": "AWSAccountIds",
    "SendMessageBatchRequestEntry": "Entries",
    "DeleteMessageBatchRequestEntry": "Entries",
    "ChangeMessageVisibilityBatchRequestEntry": "Entries",
}
_SQS_MAPS = {
    "Attribute": ("Attributes", "Name", "Value"),
    "MessageAttribute": ("MessageAttributes", "Name", "Value"),
    "MessageSystemAttribute": ("MessageSystemAttributes", "Name", "Value"),
    "Tag": ("Tags", "Key", "Value"),
}
_MAP_KEYS = {"Attributes": ("key", "value"), "MessageAttributes": ("Name", "Value")}


def decode(body: bytes, query: str, service: str) -> dict[str, Any]:
    """Return a form's parameters in the shapes of the JSON protocol; raises AwsError for what is no request."""
    tree: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        pairs += parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise AwsError("MalformedQueryString", f"The form can't be read: {error}") from None
    for name, value in pairs:
        path = name.split(".")
        if len(path) > _MAX_DEPTH:
            raise AwsError("MalformedQueryString", f"The parameter {name[:80]} is nested too deeply.")
        at = tree
        for part in path[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise AwsError("MalformedQueryString", f"The parameter {name[:80]} is both a value and a structure.")
        at[path[-1]] = value
    return _flattened(tree) if service == "sqs" else _structure(tree)


def _items(tree: Any) -> list[Any]:
    """Return the members of a numbered list, in the order of their numbers."""
    if not isinstance(tree, dict) or not all(key.isascii() and key.isdigit() and len(key) < 6 for key in tree):
        raise AwsError("MalformedQueryString", "A list's members must be numbered.")
    return [tree[key] for key in sorted(tree, key=int)]


def _map(items: list[Any], key: str, value: str) -> dict[str, Any]:
    pairs = {}
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get(key), str):
            raise AwsError("MalformedQueryString", f"A map's entry must have a {key}.")
        pairs[item[key]] = item.get(value, "")
    return pairs


def _flattened(tree: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in tree.items():
        if name in _SQS_MAPS and isinstance(value, dict):
            target, key, content = _SQS_MAPS[name]
            params[target] = _map(_items(value), key, content)
        elif name in _SQS_LISTS and value == "":  # an empty list, as SDKs write it
            params[_SQS_LISTS[name]] = []
        elif name in _SQS_LISTS and isinstance(value, dict):
            items = _items(value)
            params[_SQS_LISTS[name]] = [_flattened(item) if isinstance(item, dict) else item for item in items]
        else:
            params[name] = value
    return params


def _structure(tree: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in tree.items():
        if not isinstance(value, dict):
            params[name] = value
        elif value.keys() == {"member"}:
            items = _items(value["member"]) if isinstance(value["member"], dict) else []
            params[name] = [_structure(item) if isinstance(item, dict) else item for item in items]
        elif value.keys() == {"entry"}:
            key, content = _MAP_KEYS.get(name, ("key", "value"))
            params[name] = _map(_items(value["entry"]), key, content)
        else:
            params[name] = _structure(value)
    return params
