"""What every connection shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polybus.localcloud.servicebus.entities.namespace import Namespace
from polybus.localcloud.servicebus.faults import Faults
from polybus.localcloud.servicebus.rights import Rights

if TYPE_CHECKING:
    from polybus.localcloud.servicebus.wire.connection import Connection

__all__ = ["Host"]


@dataclass(slots=True)
class Host:
    namespace: Namespace
    rights: Rights
    faults: Faults
    idle_timeout: float
    handshake_timeout: float
    connections: set[Connection] = field(default_factory=set)
