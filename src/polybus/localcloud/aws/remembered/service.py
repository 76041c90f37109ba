"""What the services that only remember have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.policy.document import Policy
from polybus.localcloud.aws.remembered.shelf import Document, Shelf
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.services import Action

__all__ = ["Remembered", "named", "tag_list", "tags_of"]


class Remembered:
    """A service of one name, whose actions are its methods: CreateRole is `create_role`.

    What is about names and tags is checked as AWS does; whoever may do anything at all may do this too.
    """

    name: ClassVar[str]

    def __init__(self, account: str, rows: Rows) -> None:
        self.account = account
        self._rows = rows
        self._shelves: list[Shelf] = []
        self.actions: Mapping[str, Action] = {}

    def shelf(self, kind: str) -> Shelf:
        """Return a new shelf of this service's."""
        shelf = Shelf(f"{self.name}.{kind}", self._rows)
        self._shelves.append(shelf)
        return shelf

    def load(self) -> None:
        """Bring back what was kept."""
        for shelf in self._shelves:
            shelf.load()

    def subject(self, call: Call, params: Params) -> tuple[str, str, Policy | None]:
        """Return the right that `call` needs, the ARN it is about, and that resource's policy."""
        return f"{self.name}:{call.action}", "*", None

    def context(self, call: Call, params: Params) -> Mapping[str, str]:
        """Return the service's own condition keys: none."""
        return {}


def named(params: Params, name: str) -> str:
    """Return a text that has to be there; raises AwsError where it isn't."""
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise AwsError("ValidationError", f"Value at '{name}' failed to satisfy constraint: Member must not be null")
    return value


def tags_of(given: Any) -> dict[str, str]:
    """Return tags as a map, from the list of keys and values that most services take, or from a map."""
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    return {
        str(tag["Key"]): str(tag.get("Value", "")) for tag in given or () if isinstance(tag, Mapping) and "Key" in tag
    }


def tag_list(document: Document) -> list[dict[str, str]]:
    """Return a document's tags as a list."""
    return [{"Key": key, "Value": value} for key, value in sorted(document.get("tags", {}).items())]
