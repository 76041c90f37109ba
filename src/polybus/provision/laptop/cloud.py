"""What a stack on this machine asks of a cloud: to make, read and take away resources on its local server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from polybus.binding import Binding
from polybus.registry import each

__all__ = ["Inputs", "Laptop", "Stand", "attempt", "laptop_of_package", "laptops"]

Inputs: TypeAlias = Mapping[str, Any]


class Stand(Protocol):
    """A connection to one cloud's local server; properties have the engine's names.

    Raises what the cloud's own client does for what the server refuses. Used from several threads at once.
    """

    def make(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        """Make a resource, or change the one that is there, and return its outputs, `id` among them.

        Answers functions that only read too, and raises KeyError for one that it doesn't know.
        """

    def record(self, type_: str, name: str, inputs: Inputs) -> dict[str, Any]:
        """Return the outputs of what the server has nothing for: `id`, and what follows from the inputs alone."""

    def read(self, type_: str, identity: str, made: Inputs) -> dict[str, Any] | None:
        """Return what the server has of a resource, by the provider's names; None where it isn't there.

        `made` are the resource's inputs and outputs. With nothing in it, as for one that is to be imported, all that
        names it comes from its id, which may be as the cloud has it: `id` is then what it is here.
        """

    def remove(self, type_: str, made: Inputs) -> None:
        """Take a resource away; what is gone already is no error."""


def _no_variables(configuration: Mapping[str, str]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Laptop:
    """How a cloud's local server stands in for its Pulumi provider.

    `package` is the provider's package as Pulumi has it. `served(type, inputs)` says whether the server has something
    for a resource; what it hasn't is recorded, and nothing is made up for it but an id. `connect(configuration)` reads
    from the environment where the server is. `binding(binding, environment)` leads a stack's binding to the server,
    whose variables `environment` has. `variables(configuration)` are those of them that a stack's configuration says,
    by its keys in full, such as where the cloud's own tools look.
    """

    package: str
    served: Callable[[str, Inputs], bool]
    connect: Callable[[Inputs], Stand]
    binding: Callable[[Binding, Mapping[str, str]], Binding]
    variables: Callable[[Mapping[str, str]], Mapping[str, str]] = _no_variables


def laptops() -> Iterator[tuple[str, Laptop]]:
    """Give the clouds that have a stand-in for their provider, each by its name; no SDK is imported."""
    return ((cloud.name, cast(Laptop, cloud.load("laptop"))) for cloud in each("laptop"))


def laptop_of_package(package: str) -> Laptop | None:
    """Return the stand-in for a package of Pulumi, None where no cloud has one."""
    return next((laptop for _, laptop in laptops() if laptop.package == package), None)


def attempt(call: Callable[[], object], gone: tuple[type[Exception], ...]) -> None:
    """Take something away, which may be gone already."""
    with suppress(*gone):
        call()
