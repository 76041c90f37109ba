"""What may be done with a binding: by a service, and by a backend."""

from __future__ import annotations

from collections.abc import Callable

from polybus.binding import Binding, Entity
from polybus.driver import Driver
from polybus.errors import BindingError, NotDeclared, UnsupportedFeature
from polybus.feature import Feature

__all__ = ["Checker", "check_features"]


class Checker:
    """Finds entities by name, and refuses those that the service hasn't declared; without a service, none."""

    def __init__(self, binding: Binding, service: str | None) -> None:
        self._binding = binding
        self._service = service
        if service is not None and service not in binding.services:
            known = ", ".join(sorted(binding.services)) or "none"
            raise NotDeclared(f"service {service!r} is not declared in bus {binding.bus!r}; there are: {known}")

    @property
    def service(self) -> str | None:
        """The service whose rights these are, None where all may be done."""
        return self._service

    def target(self, name: str) -> Entity:
        """Return a topic or queue to publish to; raise BindingError, NotDeclared."""
        entity = self._known(self._binding.target, name)
        self._refuse("publishes", name)
        return entity

    def source(self, name: str) -> Entity:
        """Return a subscription or queue to consume from; raise BindingError, NotDeclared."""
        entity = self._known(self._binding.source, name)
        self._refuse("consumes", name)
        return entity

    def operated(self, name: str) -> Entity:
        """Return any entity to look at or operate on; raise BindingError, NotDeclared."""
        entity = self._known(self._binding.entity, name)
        self._refuse("operates", name)
        return entity

    def purged(self, name: str) -> Entity:
        """Return an entity to delete what waits in it, which takes the right to consume it beside that to operate it.

        Raises BindingError, NotDeclared.
        """
        entity = self.operated(name)
        self._refuse("consumes", name)
        return entity

    def _known(self, find: Callable[[str], Entity], name: str) -> Entity:
        try:
            return find(name)
        except BindingError as error:
            binding = self._binding
            if name in binding.topics or name in binding.queues or name in binding.subscriptions:
                raise
            from polybus.topology.nearby import declaring  # what finds all that it asks for never reads a topology

            path = declaring(name, bus=binding.bus, but=binding.digest)
            if path is None:
                raise
            what = str(error).partition("; ")[0]
            raise BindingError(
                f"{what}; {path} declares it, and the binding was made before it did: deploy the stack and take its "
                "binding anew (`polybus local down` and `polybus local up` for a local cloud)"
            ) from None

    def _refuse(self, verb: str, name: str) -> None:
        if self._service is None:
            return
        allowed: tuple[str, ...] = getattr(self._binding.services[self._service], verb)
        if name not in allowed:
            raise NotDeclared(
                f"service {self._service!r} has not declared {name!r}: at $.services.{self._service}.{verb}: "
                f"found {list(allowed)}; add it there and deploy, so that the right is granted too"
            )


def check_features(binding: Binding, driver: Driver) -> None:
    """Raise UnsupportedFeature for the first thing in the binding that the backend can't do (contract, section 3)."""
    for group in (binding.topics, binding.subscriptions, binding.queues):
        for entity in group.values():
            features = driver.features(entity)
            place = f"at $.{entity.kind.value}s.{entity.name}"
            if entity.ordered and Feature.ORDERING not in features:
                raise UnsupportedFeature(f"{place}.ordered: backend {binding.backend!r} keeps no order here")
            if entity.max_delay > 0 and Feature.DELAY not in features:
                raise UnsupportedFeature(f"{place}.max_delay: backend {binding.backend!r} can't delay messages here")
            if entity.fairness_key is not None and Feature.FAIRNESS not in features:
                raise UnsupportedFeature(
                    f"{place}.fairness_key: backend {binding.backend!r} can't tell tenants apart here"
                )
