"""Writes arm_names.py: the names that Azure Resource Manager takes, from Microsoft's own libraries; no test.

    python -m tests.unit.plan.arm_schemas WHEEL...

Each WHEEL is of a package `azure-mgmt-*` (PyPI), which is generated from the descriptions of Azure's API. Only names
are taken, with ! behind those that are required; where a library has several versions of an API, those of the one that
the export names.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Of each type: where its class is, and below which of its names nothing is listed, since these are data or of others.
_ROOTS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "azure-native:resources:ResourceGroup": ("azure/mgmt/resource/resources/v2024_07_01", "ResourceGroup", ()),
    "azure-native:servicebus:Namespace": ("azure/mgmt/servicebus", "SBNamespace", ("privateEndpointConnections",)),
    "azure-native:servicebus:Topic": ("azure/mgmt/servicebus", "SBTopic", ()),
    "azure-native:servicebus:Queue": ("azure/mgmt/servicebus", "SBQueue", ()),
    "azure-native:servicebus:Subscription": ("azure/mgmt/servicebus", "SBSubscription", ()),
    "azure-native:servicebus:DefaultRule": ("azure/mgmt/servicebus", "Rule", ()),
    "azure-native:authorization:RoleAssignment": (
        "azure/mgmt/authorization/v2022_04_01",
        "RoleAssignmentCreateParameters",
        (),
    ),
    "azure-native:network:PrivateEndpoint": (
        "azure/mgmt/network",
        "PrivateEndpoint",
        ("subnet", "networkInterfaces", "applicationSecurityGroups"),
    ),
    "azure-native:network:PrivateDnsZoneGroup": ("azure/mgmt/network", "PrivateDnsZoneGroup", ()),
    "azure-native:monitor:ActionGroup": ("azure/mgmt/monitor", "ActionGroupResource", ()),
    "azure-native:monitor:MetricAlert": ("azure/mgmt/monitor", "MetricAlertResource", ()),
    "azure-native:monitor:DiagnosticSetting": (
        "azure/mgmt/monitor/v2021_05_01_preview",
        "DiagnosticSettingsResource",
        (),
    ),
    "azure-native:keyvault:Secret": ("azure/mgmt/keyvault", "SecretCreateOrUpdateParameters", ()),
    "azure-native:appconfiguration:KeyValue": ("azure/mgmt/appconfiguration", "KeyValue", ()),
    "azure-native:storage:StorageAccount": ("azure/mgmt/storage", "StorageAccountCreateParameters", ()),
    "azure-native:storage:BlobContainer": ("azure/mgmt/storage", "BlobContainer", ()),
    "azure-native:storage:BlobServiceProperties": ("azure/mgmt/storage", "BlobServiceProperties", ()),
    "azure-native:storage:ManagementPolicy": ("azure/mgmt/storage", "ManagementPolicy", ()),
    "azure-native:portal:Dashboard": ("azure/mgmt/portal", "Dashboard", ("metadata",)),
}
_PLACED = frozenset({"id", "name", "type", "location", "tags", "identity", "systemData", "etag"})


@dataclass(frozen=True)
class Member:
    key: str
    classes: tuple[str, ...]
    required: bool


class Models:
    """The classes of one module of models, in either of the two forms that Microsoft's generators write."""

    def __init__(self, text: str) -> None:
        self.classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
        self._below: dict[str, list[str]] = {}
        for name, node in self.classes.items():
            for base in node.bases:
                self._below.setdefault(ast.unparse(base).rpartition(".")[2], []).append(name)

    def names(self, name: str, closed: tuple[str, ...], within: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
        """Give the dotted names of a class, and of all that may stand for it."""
        for member in self._members(name):
            if not within and member.key in _PLACED:
                continue
            path = f"{within}{member.key}"
            yield f"{path}{'!' * member.required}"
            for inner in member.classes:
                if inner not in above and member.key.rpartition(".")[2] not in closed:
                    yield from self.names(inner, closed, f"{path}.", (*above, name))

    def _members(self, name: str) -> Iterator[Member]:
        """Give what a class has, with what it has from above and what a more special one has."""
        node = self.classes[name]
        for base in node.bases:
            above = ast.unparse(base).rpartition(".")[2]
            if above in self.classes:
                yield from self._own(self.classes[above])
        yield from self._own(node)
        for below in self._below.get(name, ()):
            yield from (Member(one.key, one.classes, False) for one in self._members(below))

    def _own(self, node: ast.ClassDef) -> Iterator[Member]:
        required: dict[str, bool] = {}
        for line in node.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "_validation":
                rules = ast.literal_eval(line.value)
                required = {name: bool(found.get("required")) for name, found in rules.items()}
        for line in node.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "_attribute_map":
                for name, found in ast.literal_eval(line.value).items():
                    if found["key"]:
                        yield self._member(_key(found["key"]), found["type"], required.get(name, False))
            elif isinstance(line, ast.AnnAssign) and isinstance(line.value, ast.Call):
                given = {one.arg: one.value for one in line.value.keywords}
                key = ast.literal_eval(given["name"]) if "name" in given else ast.unparse(line.target)
                type_ = ast.unparse(line.annotation)
                yield self._member(key, type_, not type_.startswith("Optional"))

    def _member(self, key: str, type_: str, required: bool) -> Member:
        classes = () if "{" in type_ else tuple(one for one in re.findall(r"\w+", type_) if one in self.classes)
        return Member(key, classes, required)


def _key(written: str) -> str:
    """Read a key: one of several steps has a dot, one that has a dot in it a backslash before that."""
    return written.replace("\\.", "\0")


def names_of(texts: Mapping[str, str]) -> dict[str, list[str]]:
    found = {}
    for type_, (folder, name, closed) in _ROOTS.items():
        module = next(texts[path] for path in texts if path.startswith(f"{folder}/models/_models"))
        found[type_] = sorted(_with_outer({one.replace("\0", "~") for one in Models(module).names(name, closed)}))
    return found


def _with_outer(names: set[str]) -> set[str]:
    """Add what names are inside of: one of the two forms leaves it out."""
    plain = {name.removesuffix("!") for name in names}
    return names | ({name.rpartition(".")[0] for name in plain if "." in name} - plain)


_HEAD = '''"""What Azure Resource Manager takes, by the plan's types of resources; arm_schemas.py writes this file.

Behind a dot stand names inside of another, ! behind those that are required; ~ is a dot that is part of a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, str]] = {
'''


def main(*wheels: str) -> None:
    texts: dict[str, str] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as packed:
            paths = [path for path in packed.namelist() if re.search(r"/models/_models(_py3)?\.py$", path)]
            texts |= {path: packed.read(path).decode() for path in paths}
    lines = []
    for type_, names in names_of(texts).items():
        wrapped = textwrap.wrap(" ".join(names), width=108, break_long_words=False, break_on_hyphens=False)
        lines += [f'    "{type_}": """', *(f"        {line}" for line in wrapped), '    """,']
    (Path(__file__).parent / "arm_names.py").write_text(_HEAD + "\n".join([*lines, "}"]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
