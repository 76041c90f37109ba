"""Writes run_schemas/*.json: what the platforms that services run on take, from what others publish of them; no test.

    python -m tests.unit.plan.run_schemas FOLDER

FOLDER holds, as pip and npm download them: `kubernetes_validate-*.whl` and `google_api_python_client-*.whl`
(Apache License 2.0), `azure_mgmt_appcontainers-*.whl` (MIT) and `kubernetes-models-keda-*.tgz` (MIT), the npm package
`@kubernetes-models/keda`, which is generated from KEDA's custom resource definitions. Names, types and what is required
are taken, descriptions are not. Each schema is one object: `$defs` by name, and `roots` by kind.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

_KUBERNETES = {
    "ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "Deployment": "io.k8s.api.apps.v1.Deployment",
    "JobSpec": "io.k8s.api.batch.v1.JobSpec",
}
_KEDA = ("ScaledObject", "ScaledJob", "TriggerAuthentication")
_CLOUD_RUN = ("Service", "WorkerPool")
_KEPT = ("type", "properties", "required", "items", "additionalProperties", "enum", "oneOf", "$ref")


def closed(definitions: Mapping[str, Schema], roots: Mapping[str, str]) -> Schema:
    """Keep what the roots reach."""
    found: dict[str, Schema] = {}
    ahead = [*roots.values()]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = definitions[name]
            ahead += references(definitions[name])
    return {"roots": dict(roots), "$defs": {name: found[name] for name in sorted(found)}}


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def bare(schema: Any) -> Any:
    """Leave out what is for people, and name definitions by their names alone."""
    if isinstance(schema, bool) or not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key in _KEPT}
    if "$ref" in kept:
        return {"$ref": str(kept["$ref"]).rpartition("/")[2]}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = bare(kept[key])
    if "properties" in kept:
        kept["properties"] = {name: bare(value) for name, value in kept["properties"].items()}
    if "oneOf" in kept:
        kept["oneOf"] = [bare(value) for value in kept["oneOf"]]
    return kept


def of_kubernetes(wheel: Path) -> tuple[str, dict[str, Schema]]:
    """Read the strict JSON schemas, which allow no names that they don't have, of the newest version."""
    with zipfile.ZipFile(wheel) as packed:
        names = (name for name in packed.namelist() if name.endswith("-local-strict/_definitions.json"))
        newest = max(names, key=lambda name: [int(part) for part in re.findall(r"/v(\d+)\.(\d+)\.", name)[0]])
        definitions = json.loads(packed.read(newest))["$defs"]
    version = re.search(r"/(v[\d.]+)-local", newest)
    assert version is not None
    return f"Kubernetes {version[1]}", {name: bare(schema) for name, schema in definitions.items()}


def of_cloud_run(wheel: Path) -> Schema:
    """Read the description of the API's version 1, which `gcloud run ... replace` takes as YAML."""
    with zipfile.ZipFile(wheel) as packed:
        found = json.loads(packed.read("googleapiclient/discovery_cache/documents/run.v1.json"))
    definitions = {name: strict(bare(schema)) for name, schema in found["schemas"].items()}
    roots = {name: name for name in _CLOUD_RUN}
    return {"of": f"run.googleapis.com v1, revision {found['revision']}", **closed(definitions, roots)}


def strict(schema: Schema) -> Schema:
    return {"additionalProperties": False, **schema} if "properties" in schema else schema


def of_container_apps(wheel: Path) -> Schema:
    """Read the typed dictionaries of Microsoft's library, which have the names that Azure Resource Manager takes."""
    with zipfile.ZipFile(wheel) as packed:
        text = packed.read("azure/mgmt/appcontainers/types.py").decode()
        configuration = packed.read("azure/mgmt/appcontainers/_configuration.py").decode()
    version = re.search(r'"api_version", "([\d-]+)"', configuration)
    assert version is not None
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    definitions = {name: _typed(node, classes) for name, node in classes.items()}
    return {"of": f"Microsoft.App {version[1]}", **closed(definitions, {"ContainerApp": "ContainerApp"})}


def _typed(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Schema:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for one in _with_bases(node, classes):
        for line in one.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                annotation = ast.unparse(line.annotation)
                if annotation.startswith("Required["):
                    required.append(line.target.id)
                properties[line.target.id] = _of_annotation(annotation, classes)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _with_bases(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    for base in node.bases:
        name = ast.unparse(base)
        if name in classes:
            yield from _with_bases(classes[name], classes)
    yield node


def _of_annotation(text: str, classes: Mapping[str, ast.ClassDef]) -> Schema:
    text = text.strip().strip("'\"")
    found = re.fullmatch(r"(\w+)\[(.*)\]", text, re.DOTALL)
    if found and found[1] in ("Required", "NotRequired", "Optional", "ReadOnly"):
        return _of_annotation(found[2], classes)
    if found and found[1] in ("list", "List"):
        return {"type": "array", "items": _of_annotation(found[2], classes)}
    if found and found[1] in ("dict", "Dict"):
        return {"type": "object", "additionalProperties": _of_annotation(found[2].partition(",")[2], classes)}
    if text.startswith("Union[str, "):  # one of a few words, which the service may know more of
        return {"type": "string"}
    plain = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    if text in plain:
        return {"type": plain[text]}
    return {"$ref": text} if text in classes else {}


def of_keda(package: Path) -> tuple[str, dict[str, Schema]]:
    """Read TypeScript's declarations of the custom resources."""
    with tarfile.open(package) as packed:
        texts = {
            member.name.rpartition("/")[2].removesuffix(".d.ts"): _text(packed, member)
            for member in packed.getmembers()
            if member.name.startswith("package/keda.sh/v1alpha1/") and member.name.endswith(".d.ts")
        }
        version = json.loads(_text(packed, packed.getmember("package/package.json")))["version"]
    return f"@kubernetes-models/keda {version}", {name: _declared(name, texts[name], texts.keys()) for name in texts}


def _text(packed: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = packed.extractfile(member)
    assert file is not None
    return file.read().decode()


def _declared(name: str, text: str, known: Iterable[str]) -> Schema:
    plain = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found = re.search(rf"export interface I{name}(?: extends TypeMeta)? \{{\n(.*?)\n\}}", plain, re.DOTALL)
    if found is None:  # a text with a few values, or any
        return {}
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for key, mark, type_ in re.findall(r'^    "(\w+)"(\??): (.*?);$', found[1], re.DOTALL | re.MULTILINE):
        properties[key] = _of_type(type_, known)
        if not mark:
            required.append(key)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _of_type(text: str, known: Iterable[str]) -> Schema:
    text = text.strip()
    if text in ("string", "number", "boolean"):
        return {"type": text}
    if found := re.fullmatch(r"Array<(.*)>", text):
        return {"type": "array", "items": _of_type(found[1], known)}
    if found := re.fullmatch(r"\{\s*\[key: string\]: (.*?);\s*\}", text, re.DOTALL):
        return {"type": "object", "additionalProperties": _of_type(found[1], known)}
    if re.fullmatch(r'"[^"]*"(?: \| "[^"]*")*', text):
        return {"enum": re.findall(r'"([^"]*)"', text)}
    if text == "IIoK8sApiBatchV1JobSpec":
        return {"$ref": "io.k8s.api.batch.v1.JobSpec"}
    if text.endswith("V1ObjectMeta"):
        return {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    name = text.partition("V1alpha1")[2]
    return {"$ref": name} if name in known else {}


def main(folder: Path) -> None:
    def only(pattern: str) -> Path:
        [found] = folder.glob(pattern)
        return found

    version, definitions = of_kubernetes(only("kubernetes_validate-*.whl"))
    package, declared = of_keda(only("kubernetes-models-keda-*.tgz"))
    roots = {**_KUBERNETES, **{kind: kind for kind in _KEDA}}
    schemas = {
        "kubernetes": {"of": [version, package], **closed({**definitions, **declared}, roots)},
        "cloudrun": of_cloud_run(only("google_api_python_client-*.whl")),
        "containerapps": of_container_apps(only("azure_mgmt_appcontainers-*.whl")),
    }
    for name, schema in schemas.items():
        write(Path(__file__).parent / "run_schemas" / f"{name}.json", schema)


def write(path: Path, schema: Schema) -> None:
    """Write a definition a line: a new version's diff says which have changed."""
    defs = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in schema["$defs"].items())
    head = ",\n".join(f"{json.dumps(key)}: {json.dumps(schema[key])}" for key in ("of", "roots"))
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'{{\n{head},\n"$defs": {{\n{defs}\n}}\n}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
