"""Which properties of a resource Google doesn't change: another value means another resource."""

from __future__ import annotations

from collections.abc import Mapping

from polybus.clouds.gcp.plan.provider_facts import FACTS

__all__ = ["IMMUTABLE"]

IMMUTABLE: Mapping[str, frozenset[str]] = {type_: facts.immutable for type_, facts in FACTS.items()}
