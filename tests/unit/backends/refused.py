"""Publishing what must not be accepted."""

from __future__ import annotations

from typing import Any

import pytest

import polybus

__all__ = ["failed"]


async def failed(bus: polybus.Bus, target: str, body: Any = "x", **more: Any) -> polybus.Fault:
    """Publish what must not be accepted, and return why; nothing of it may be there."""
    with pytest.raises(polybus.PublishFailed) as caught:
        await bus.publish(target, body, **more)
    [fault] = caught.value.outcomes
    assert isinstance(fault, polybus.Fault)
    return fault
