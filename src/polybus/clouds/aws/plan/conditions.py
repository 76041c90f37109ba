"""What an SNS filter policy can require of one attribute, and how two requirements become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from polybus.topology.filters import Literal, OneOf, Present, StartsWith

__all__ = ["ALWAYS", "Condition", "Inexpressible", "condition_of"]


class Inexpressible(Exception):
    """SNS has no way to say it; the message says why."""


@dataclass(frozen=True, slots=True)
class But:
    """There, and none of these values."""

    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class ButPrefix:
    """There, and not beginning so."""

    prefix: str


Atom: TypeAlias = OneOf | StartsWith | Present | But | ButPrefix


@dataclass(frozen=True, slots=True)
class Condition:
    """Any of `atoms` holds, or, with `absent`, the attribute isn't there."""

    atoms: tuple[Atom, ...]
    absent: bool = False

    @property
    def always(self) -> bool:
        return self.absent and Present() in self.atoms

    @property
    def never(self) -> bool:
        return not self.absent and not self.atoms

    def __or__(self, other: Condition) -> Condition:
        return Condition(_simplified((*self.atoms, *other.atoms)), self.absent or other.absent)

    def __and__(self, other: Condition) -> Condition:
        both = (_both(first, second) for first in self.atoms for second in other.atoms)
        return Condition(_simplified(tuple(atom for atom in both if atom is not None)), self.absent and other.absent)

    def as_values(self) -> list[Any]:
        """Give the array of values that stands in the policy."""
        values: list[Any] = [{"exists": False}] if self.absent else []
        for atom in self.atoms:
            values.extend(_as_values(atom))
        return values


ALWAYS = Condition((Present(),), absent=True)


def condition_of(literal: Literal) -> Condition:
    """Give the condition that one test is."""
    if not literal.negated:
        return Condition((literal.test,))
    match literal.test:
        case OneOf(values):
            return Condition((But(frozenset(values)),), absent=True)
        case StartsWith(prefix):
            return Condition((ButPrefix(prefix),), absent=True)
        case Present():
            return Condition((), absent=True)


def _holds(atom: Atom, value: str) -> bool:
    match atom:
        case But(values):
            return value not in values
        case ButPrefix(prefix):
            return not value.startswith(prefix)
    return atom.holds(value)


def _both(first: Atom, second: Atom) -> Atom | None:
    """Give the atom that holds where both do; None where neither can."""
    if isinstance(first, Present):
        return second
    if isinstance(second, Present):
        return first
    for one, other in ((first, second), (second, first)):
        if isinstance(one, OneOf):
            values = tuple(value for value in one.values if _holds(other, value))
            return OneOf(values) if values else None
    match (first, second):
        case (StartsWith(), StartsWith()):
            return _both_prefixes(first.prefix, second.prefix)
        case (But(), But()):
            return But(first.values | second.values)
        case (StartsWith() as wanted, (But() | ButPrefix()) as refused):
            return _prefix_without(wanted, refused)
        case ((But() | ButPrefix()) as refused, StartsWith() as wanted):
            return _prefix_without(wanted, refused)
        case (ButPrefix(), ButPrefix()):
            return _neither_prefix(first, second)
        case (But(), ButPrefix()):
            return _neither(first, second)
        case (ButPrefix(), But()):
            return _neither(second, first)
    raise AssertionError((first, second))


def _both_prefixes(first: str, second: str) -> Atom | None:
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    return StartsWith(longer) if longer.startswith(shorter) else None


def _prefix_without(wanted: StartsWith, refused: But | ButPrefix) -> Atom | None:
    if isinstance(refused, But):
        if any(value.startswith(wanted.prefix) for value in refused.values):
            raise Inexpressible(f"the prefix {wanted.prefix!r} without some of its values")
        return wanted
    if wanted.prefix.startswith(refused.prefix):
        return None
    if refused.prefix.startswith(wanted.prefix):
        raise Inexpressible(f"the prefix {wanted.prefix!r} without {refused.prefix!r}")
    return wanted


def _neither_prefix(first: ButPrefix, second: ButPrefix) -> Atom:
    shorter, longer = sorted((first, second), key=lambda item: len(item.prefix))
    if longer.prefix.startswith(shorter.prefix):
        return shorter
    raise Inexpressible(f"neither of the prefixes {first.prefix!r} and {second.prefix!r}")


def _neither(values: But, prefix: ButPrefix) -> Atom:
    if all(value.startswith(prefix.prefix) for value in values.values):
        return prefix
    raise Inexpressible(f"neither some values nor the prefix {prefix.prefix!r}")


def _simplified(atoms: tuple[Atom, ...]) -> tuple[Atom, ...]:
    """Merge the atoms of one attribute that are joined by "or": at most one OneOf and one But are left."""
    if Present() in atoms:
        return (Present(),)
    prefixes = tuple(dict.fromkeys(atom for atom in atoms if isinstance(atom, (StartsWith, ButPrefix))))
    values = {value for atom in atoms if isinstance(atom, OneOf) for value in atom.values}
    buts = [atom.values for atom in atoms if isinstance(atom, But)]
    if not buts:
        kept = tuple(sorted(value for value in values if not any(_holds(prefix, value) for prefix in prefixes)))
        return (OneOf(kept), *prefixes) if kept else prefixes
    refused = frozenset.intersection(*buts) - values
    refused = frozenset(value for value in refused if not any(_holds(prefix, value) for prefix in prefixes))
    return (But(refused),) if refused else (Present(),)


def _as_values(atom: Atom) -> list[Any]:
    match atom:
        case OneOf(values):
            return list(values)
        case StartsWith(prefix):
            return [{"prefix": prefix}]
        case Present():
            return [{"exists": True}]
        case But(values):
            return [{"anything-but": sorted(values)}]
        case ButPrefix(prefix):
            return [{"anything-but": {"prefix": prefix}}]
