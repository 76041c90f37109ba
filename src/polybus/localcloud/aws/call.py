"""One request, freed of its protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Call"]


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks for what: `principal` is the caller's ARN, `endpoint` the base URL that the caller reached.

    `trace` is the header X-Amzn-Trace-Id, which what is sent carries on.
    """

    service: str
    action: str
    region: str
    access_key: str
    principal: str
    endpoint: str
    request_id: str
    trace: str | None = None
    time: Callable[[float], Any] = float
    """Writes a time, of seconds since the epoch, as the request's protocol has it."""

    @property
    def anonymous(self) -> bool:
        """Whether nobody signed it: an endpoint that confirms or ends its own subscription."""
        return self.access_key == ""
