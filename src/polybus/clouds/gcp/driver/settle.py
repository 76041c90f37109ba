"""The calls that settle and extend leases, each for as many ack ids as Pub/Sub takes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from google.pubsub_v1 import types

from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.faults import receipt_faults
from polybus.clouds.gcp.driver.line import Line
from polybus.clouds.gcp.limits import GCP
from polybus.errors import Fault

__all__ = ["acknowledge", "chunks", "modify_each"]

_Acknowledge: Any = types.AcknowledgeRequest.pb()
_Modify: Any = types.ModifyAckDeadlineRequest.pb()

# What a request has beside its ack ids, at most: the subscription's path (a project of 30 and a name of 255 characters)
# and the seconds; and what each id has in front of it.
_BESIDE = 512
_FRAME = 4


def _acknowledging(line: Line) -> Any:
    return line.acknowledge


def _modifying(line: Line) -> Any:
    return line.modify_ack_deadline


def chunks(ack_ids: Sequence[str]) -> Iterator[slice]:
    """Cut ack ids into parts that fit into a request each."""
    start, size = 0, _BESIDE
    for place, ack_id in enumerate(ack_ids):
        size += len(ack_id) + _FRAME
        if place - start >= GCP.ack_ids.most or size > GCP.ack_bytes.most:
            yield slice(start, place)
            start, size = place, _BESIDE + len(ack_id) + _FRAME
    if start < len(ack_ids):
        yield slice(start, len(ack_ids))


async def acknowledge(clients: Clients, subscription: str, ack_ids: Sequence[str]) -> list[Fault | None]:
    """Ack each; None is done."""

    async def one(part: Sequence[str]) -> list[Fault | None]:
        request = _Acknowledge(subscription=subscription, ack_ids=part)
        try:
            await clients.call(_acknowledging, request, subscription)
        except Exception as error:  # noqa: BLE001 - other calls of the same batch have answers of their own
            return receipt_faults(error, part)
        return [None] * len(part)

    return await _together([one(ack_ids[part]) for part in chunks(ack_ids)])


async def modify_each(
    clients: Clients, subscription: str, ack_ids: Sequence[str], seconds: int, line: Line | None = None
) -> list[Fault | None]:
    """Let each lease end in `seconds`, at once for 0; None is done. `line` is the connection to use, if any."""

    async def one(part: Sequence[str]) -> list[Fault | None]:
        request = _Modify(subscription=subscription, ack_ids=part, ack_deadline_seconds=seconds)
        try:
            await clients.call(_modifying, request, subscription, line=line)
        except Exception as error:  # noqa: BLE001 - other calls of the same batch have answers of their own
            return receipt_faults(error, part)
        return [None] * len(part)

    return await _together([one(ack_ids[part]) for part in chunks(ack_ids)])


async def _together(calls: list[Any]) -> list[Fault | None]:
    if len(calls) == 1:
        found: list[Fault | None] = await calls[0]
        return found
    return [fault for part in await asyncio.gather(*calls) for fault in part]
