"""Which properties of a resource no cloud changes: another value means another resource."""

from __future__ import annotations

from polybus.plan.planning import planning_of_type

__all__ = ["immutable", "unannounced"]


def immutable(type_: str) -> frozenset[str]:
    """Give the properties that a type of resource keeps for its life; raises KeyError for a type that no plan has."""
    planning = planning_of_type(type_)
    if planning is None:
        raise KeyError(type_)
    return planning.immutable[type_]


def unannounced(type_: str) -> frozenset[str]:
    """Give those of them that the provider takes for changeable: it would try, and the cloud refuse."""
    planning = planning_of_type(type_)
    return frozenset() if planning is None else planning.unannounced.get(type_, frozenset())
