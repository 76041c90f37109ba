"""The page of polybus.toml: every key, from what the reader asks for and what the clouds limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polybus.plan.check import check
from polybus.plan.findings import Severity
from polybus.topology.file import NAME_ALLOWED, loads
from polybus.topology.meanings import meaning
from polybus.topology.model import PUSH_KINDS
from polybus.topology.schema import bounds_of, default_of
from polybus.topology.shape import ANY_NAME, Form, Key, keys
from tools.reference.markdown import code, table
from tools.reference.quantities import CLOUDS, LIMITS, shown

__all__ = ["page"]

_HEAD = f"""\
# polybus.toml

Every key, what may stand there and what it means. A key that isn't here is refused. `polybus check` holds a file to the
limits of each cloud that are given here, and to [all others](limits.md); `polybus schema` prints the same for editors.

- Names are {NAME_ALLOWED}. A topic and a queue, and a subscription and a queue, can't have the same name, in any case
  of letters.
- A **duration** is a text such as `500ms`, `30s`, `5m`, `1h30m` or `7d`.
- A **size** is a text such as `900B`, `256KiB` or `1MB`.
- A **filter** is written in [the filter language](filters.md).
- A **lease** that is longer than a cloud grants is extended by polybus while the handler works.
- What is **open** is a table, `{{ config = "name" }}` or `{{ env = "NAME" }}`, that a stack fills in.
- **Attempts** are counted by polybus on each cloud; the cloud's own limit is set 20 above, for consumers that crash.

```toml
[bus]
name = "shop"

[topics.orders]

[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk")'
max_attempts = 5

[queues.mails]
lease = "5m"

[services.shop]
publishes = ["orders", "mails"]

[services.billing]
consumes = ["billing"]
```
"""

# Which of the clouds' limits holds for a key, where it isn't called as the key is.
_LIMITS: Mapping[str, str] = {"max_delay": "delay", "max_message_size": "message_bytes"}
_OPEN_PAGE = "../provisioning.md#one-topology-for-several-environments"
_ROOMS = ("topics", "subscriptions", "queues")
"""Tables whose entries become the clouds' own."""


def page() -> str:
    """Return the page."""
    found = [key for key in keys() if key.form is not Form.FREE or key.name in CLOUDS]
    sections = (section for key in found if key.form in (Form.TABLE, Form.TABLES) for section in _section(key, found))
    return "\n".join([_HEAD, *sections])


def _section(key: Key, found: list[Key]) -> Iterator[str]:
    inner = [other for other in found if other.path[:-1] == key.path and other.name != ANY_NAME]
    if not inner:
        return
    clouds = any(_limit_of(other) for other in inner)
    head = ["key", "takes", "default", "meaning", *([f"on {name}" for name in CLOUDS] if clouds else [])]
    yield f"## {_title(key)}\n\n{meaning(key)}\n\n{table(head, [_row(other, clouds) for other in _joined(inner)])}"
    if key.name == "push":
        yield _pushes()


def _pushes() -> str:
    """Return who takes which kind of push, as each cloud's own check says it."""
    return "What each cloud takes of it:\n\n" + table(
        ["push", *(f"on {name}" for name in CLOUDS)],
        ([code(kind), *(_taken(kind, name) for name in CLOUDS)] for kind in PUSH_KINDS),
    )


_ADDRESSES = {
    "email": "ops@example.com",
    "sms": "+447700900123",
    "https": "https://example.com/hook",
    "function": "hook",
    "forward": "jobs",
}


def _taken(kind: str, cloud: str) -> str:
    text = (
        '[bus]\nname = "shop"\n[topics.orders]\n[queues.jobs]\n'
        f'[subscriptions.pushed]\ntopic = "orders"\npush = {{ {kind} = "{_ADDRESSES[kind]}" }}\n'
    )
    found = check(loads(text, source="polybus.toml"), cloud)
    errors = [finding for finding in found if finding.severity is Severity.ERROR and ".push" in finding.path]
    return "yes" if not errors else f"no: {errors[0].limit}"


def _joined(inner: list[Key]) -> Iterator[Key]:
    """Give the keys, the clouds' tables as the first of them alone."""
    free = [key for key in inner if key.form is Form.FREE]
    yield from (key for key in inner if key not in free[1:])


def _row(key: Key, clouds: bool) -> list[str]:
    if key.form is Form.FREE:
        name = ", ".join(map(code, CLOUDS))
        text = "Arguments of the cloud's Pulumi provider for this resource, for what polybus has no word of its own."
        return [name, str(key.form), "", text, *([""] * len(CLOUDS) if clouds else [])]
    default = default_of(key)
    written = "needed" if key.required else code(str(default).lower() if isinstance(default, bool) else default or "")
    limit = _limit_of(key)
    words = [shown(limit, getattr(LIMITS[name], limit)) if limit else "" for name in CLOUDS]
    return [code(key.name), _takes(key), written, meaning(key), *(words if clouds else [])]


def _takes(key: Key) -> str:
    return f"{_form(key)}, or {code('false')}" if key.off else _form(key)


def _form(key: Key) -> str:
    bounds = bounds_of(key)
    if bounds:
        return f"{key.form}, {bounds}"
    if key.form in (Form.TEXT, Form.NAMES) and key.allowed:
        return key.allowed
    if key.form is Form.OPEN:
        return f"{key.allowed}; or [open]({_OPEN_PAGE})"
    return str(key.form)


def _limit_of(key: Key) -> str:
    """Return the field of the clouds' limits that holds for a key; "" where none does."""
    name = _LIMITS.get(key.name, key.name)
    there = len(key.path) == 3 and key.path[0] in _ROOMS and all(hasattr(limits, name) for limits in LIMITS.values())
    return name if there else ""


def _title(key: Key) -> str:
    path = ".".join("NAME" if step == ANY_NAME else step for step in key.path)
    return f"\\[\\[{path}\\]\\]" if key.form is Form.TABLES else f"\\[{path}\\]"
