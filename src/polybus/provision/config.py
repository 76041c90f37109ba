"""What a stack's configuration says of a bus, read strictly: what is wrong is refused before any resource."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from polybus.errors import ConfigError
from polybus.plan.settings import Mistake
from polybus.plan.values import is_mark
from polybus.provision.filled import Hidden
from polybus.topology.model import Topology
from polybus.topology.table import nearest

__all__ = ["NAMESPACE", "StackConfig"]

NAMESPACE = "polybus"


class StackConfig:
    """Reads one stack's configuration; every error names where it stands and the key.

    `values` are the keys of our namespace, what is structured as JSON text; `provider` gives a provider's own value by
    its namespace and key, such as `aws` and `region`; `place` begins every error. `secret` are the keys, of ours, that
    hold what the engine keeps secret.
    """

    def __init__(
        self,
        stack: str,
        values: Mapping[str, str],
        provider: Callable[[str, str], str | None],
        place: str,
        *,
        secret: Collection[str] = (),
    ) -> None:
        self.stack = stack
        self.of = provider
        self._values = values
        self._place_of = place
        self._secret = secret

    @classmethod
    def current(cls) -> StackConfig:
        """Read the configuration of the stack whose program runs."""
        import pulumi

        config, stack = pulumi.Config(NAMESPACE), pulumi.get_stack()
        values = {key: config.get(key) or "" for key in _given()}
        place = f"Pulumi.{stack}.yaml: {NAMESPACE}:"
        secret = [key for key in values if _is_secret(key)]
        return cls(stack, values, lambda namespace, key: pulumi.Config(namespace).get(key), place, secret=secret)

    def hold_keys(self, known: Iterable[str], elsewhere: Mapping[str, str]) -> None:
        """Refuse keys that nobody reads; `elsewhere` are those that another cloud does, with that cloud's name."""
        allowed = tuple(known)
        for key in self._values:
            if key in allowed:
                continue
            if key in elsewhere:
                raise ConfigError(f"{self._place(key)}: it is for {elsewhere[key]}; allowed here: {', '.join(allowed)}")
            near = nearest(key, allowed)
            hint = f"; did you mean {near}?" if near else ""
            raise ConfigError(f"{self._place(key)}: nothing reads it{hint}; allowed: {', '.join(allowed)}")

    def hold_services(self, cloud: str, key: str, topology: Topology) -> None:
        """Refuse who a service is on `cloud`, as `key` says, where the topology declares no such service."""
        for name in self.table(key):
            if name not in topology.services:
                declared = ", ".join(sorted(topology.services)) or "none is declared"
                near = nearest(name, topology.services)
                hint = f"; did you mean {near}?" if near else ""
                words = f"{cloud}: found the service {name!r}; allowed: those of {topology.source}: {declared}{hint}"
                raise ConfigError(f"{self._place(f'{key}.{name}')}: {words}")

    def hold(self, mistakes: Iterable[Mistake]) -> None:
        """Refuse what is wrong with values by themselves, all of it at once."""
        words = [str(self.refused(one.key, one.found, one.allowed)) for one in mistakes]
        if words:
            raise ConfigError("\n".join(words))

    def refused(self, key: str, found: object, allowed: str) -> ConfigError:
        """Return the error for a value, to be raised."""
        return ConfigError(f"{self._place(key)}: found {found!r}; allowed: {allowed}")

    def missing(self, key: str, instead: str) -> ConfigError:
        """Return the error for a key that has to be set, to be raised."""
        return ConfigError(f"{self._place(key)} is not set: {instead}")

    def text(self, key: str) -> str | None:
        """Return a key's value; None where it isn't set."""
        return self._values.get(key)

    def one_of(self, key: str, allowed: Sequence[str]) -> str | None:
        """Return a key's value, which has to be one of these; None where it isn't set. Raises ConfigError."""
        value = self.text(key)
        if value is not None and value not in allowed:
            raise self.refused(key, value, ", ".join(allowed))
        return value

    def boolean(self, key: str) -> bool | None:
        """Return whether a key says true; None where it isn't set. Raises ConfigError."""
        value = self.one_of(key, ("true", "false"))
        return None if value is None else value == "true"

    def integer(self, key: str) -> int | None:
        """Return a key's whole number; None where it isn't set. Raises ConfigError."""
        value = self.text(key)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            raise self.refused(key, value, "a whole number") from None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a key's list of texts; none where it isn't set. Raises ConfigError."""
        value = self._parsed(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refused(key, value, "a list of texts")
        return tuple(value)

    def table(self, key: str) -> Mapping[str, Any]:
        """Return a key's table; an empty one where it isn't set. Raises ConfigError."""
        value = self._parsed(key, {})
        if not isinstance(value, dict):
            raise self.refused(key, value, "a table")
        return value

    def texts_by_name(self, key: str) -> Mapping[str, str]:
        """Return a key's table, whose values are all texts; an empty one where it isn't set. Raises ConfigError."""
        value = self.table(key)
        if not all(isinstance(item, str) for item in value.values()):
            raise self.refused(key, value, "a table of texts")
        return value

    def values(self) -> Mapping[str, str | Hidden]:
        """Give what fills in what a topology leaves open: `values` as they are, `secrets` so that nobody sees them."""
        found: dict[str, str | Hidden] = {}
        for key, hide in (("values", "values" in self._secret), ("secrets", True)):
            for name, value in self.table(key).items():
                if name in found:
                    raise self.refused(f"{key}.{name}", name, "one that values has not")
                found[name] = self._filling(f"{key}.{name}", value, hide=hide)
        return found

    def _filling(self, key: str, value: Any, *, hide: bool) -> str | Hidden:
        if isinstance(value, dict) and set(value) == {"secure"}:
            return Hidden()
        if not isinstance(value, str) or not value:
            raise self.refused(key, "a secret" if hide else value, "a text")
        # A mark of another tool's variable is no secret's text: that tool keeps it.
        return Hidden(value) if hide and not is_mark(value) else value

    def _parsed(self, key: str, default: Any) -> Any:
        value = self.text(key)
        if value is None:
            return default
        try:
            return json.loads(value)
        except ValueError:
            part = "[0]" if isinstance(default, list) else ".<name>"
            example = f"pulumi config set --path '{NAMESPACE}:{key}{part}' <value>"
            raise self.refused(key, value, f"structured configuration, as `{example}` writes it") from None

    def _place(self, key: str) -> str:
        return f"{self._place_of}{key}"


def _is_secret(key: str) -> bool:
    """Tell whether the engine keeps a key of our namespace secret, wherever the language host says so."""
    from pulumi.runtime import config as runtime_config

    whole = f"{NAMESPACE}:{key}"
    return runtime_config.is_config_secret(whole) or whole in runtime_config.get_config_secret_keys_env()


def _given() -> list[str]:
    """List the keys of our namespace that are set, wherever the language host put them."""
    from pulumi.runtime import config as runtime_config

    every = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    prefix = f"{NAMESPACE}:"
    return sorted(key.removeprefix(prefix) for key in every if key.startswith(prefix))
