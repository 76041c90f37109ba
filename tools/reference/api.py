"""The pages of the Python API: every public name with what it is; the site has the whole docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from tools.reference.markdown import code, summary, table

__all__ = ["MODULES", "PAGES"]

MODULES: Mapping[str, str] = {
    "polybus": "the Python API: apps, buses, messages, errors",
    "polybus.sync": "the blocking API",
    "polybus.testing": "the Python API for tests",
    "polybus.serverless": "the Python API for functions",
    "polybus.provision": "the Python API for Pulumi programs",
    "polybus.outbox": "messages that leave with a transaction, or at a time",
    "polybus.cloudevents": "events as CloudEvents has them",
    "polybus.codec": "bodies in other forms than JSON",
    "polybus.avro": "bodies in Avro",
    "polybus.middleware": "what stands around publishing and handlers",
    "polybus.blobs": "bodies of any size, in object stores",
    "polybus.encryption": "sealed messages",
    "polybus.flow": "rate limits and breakers of handlers",
    "polybus.flow_redis": "rate limits that processes share in Redis",
    "polybus.once": "effects once per message: stores of claims",
    "polybus.telemetry": "hooks, for telemetry of your own",
    "polybus.otel": "the hooks for OpenTelemetry",
    "polybus.app.logs": "the log's formats",
    "polybus.clouds.aws": "settings of AWS for Pulumi programs",
    "polybus.clouds.azure": "settings of Azure for Pulumi programs",
    "polybus.clouds.gcp": "settings of Google Cloud for Pulumi programs",
    "polybus.driver": "the interface of backends",
    "polybus.backend": "bases for backends",
    "polybus.cloud": "how a package registers a cloud",
}


def _page(name: str) -> str:
    module = import_module(name)
    names = [each for each in module.__all__ if each != "sync"]
    rows = ([code(each), _kind(getattr(module, each)), _about(getattr(module, each))] for each in names)
    about = summary(module).replace("`", "")
    head = f"# {name}\n\n{about}\n\n{table(['name', '', 'what'], rows)}"
    return head + "".join(_directive(name, each) for each in names)


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isroutine(value) else "value"


def _about(value: Any) -> str:
    """Return what a name is; a value that isn't of a class of ours says it by itself."""
    if inspect.isclass(value) or inspect.isroutine(value) or type(value).__module__.startswith("polybus"):
        return summary(value)
    return code(str(value)[:60])


def _directive(module: str, name: str) -> str:
    """Return what the site puts the docstring, the signature and the members in place of."""
    return f"\n::: {module}.{name}\n"


PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    f"api/{name}.md": (about, partial(_page, name)) for name, about in MODULES.items()
}
