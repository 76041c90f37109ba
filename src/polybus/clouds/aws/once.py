"""Claims of `polybus.once` in DynamoDB."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from polybus.claims import RETENTION, Busy, Claim, Done
from polybus.clock import Clock, SystemClock
from polybus.durations import Duration, seconds
from polybus.errors import MissingExtra

__all__ = ["DynamoStore"]

_NAMES = {"#token": "token", "#until": "until", "#done": "done"}
_FREE = "attribute_not_exists(#token) OR (attribute_not_exists(#done) AND #until <= :now) OR #done <= :horizon"
_MINE = "#token = :token AND attribute_not_exists(#done)"
# How often it is looked at whose claim it is, where that changes between two calls.
_LOOKS = 3


class DynamoStore:
    """Claims in a table of DynamoDB, whose partition key is the text `key`; `create_tables` makes it as it should be.

    `client` is boto3's, one of its own where None. Keys have the attribute `expires`, by which the table's time to live
    deletes them once their `retention` is over. The time is the machine's, or that of `clock`: machines whose clocks
    differ by more than a claim's lease may take a living owner's claim. Needs dynamodb:UpdateItem and dynamodb:GetItem.
    """

    def __init__(
        self,
        table: str = "polybus_once",
        *,
        client: Any = None,
        retention: Duration = RETENTION,
        clock: Clock | None = None,
    ) -> None:
        if client is None:
            try:
                import boto3
            except ModuleNotFoundError as error:
                raise MissingExtra("boto3", "aws") from error
            client = boto3.client("dynamodb")
        self._client = client
        self._table = table
        self._retention = seconds(retention, "retention")
        self._clock = clock or SystemClock()

    async def claim(self, scope: str, key: str, lease: float) -> Claim | Busy | Done:
        return await asyncio.to_thread(self._claim, scope, key, lease)

    async def renew(self, claim: Claim, lease: float) -> bool:
        return await asyncio.to_thread(self._change, claim, "#until", lease)

    async def confirm(self, claim: Claim) -> bool:
        return await asyncio.to_thread(self._change, claim, "#done", 0.0)

    async def release(self, claim: Claim) -> None:
        await asyncio.to_thread(self._change, claim, "#until", 0.0)

    async def purge(self) -> int:
        return 0

    async def create_tables(self) -> None:
        await asyncio.to_thread(self._create)

    def _claim(self, scope: str, key: str, lease: float) -> Claim | Busy | Done:
        for _ in range(_LOOKS):
            now = self._clock.time()
            values = {
                ":now": _number(now),
                ":horizon": _number(now - self._retention),
                ":until": _number(now + lease),
                ":expires": _whole(now + lease + self._retention),
                ":one": {"N": "1"},
            }
            change = "SET #until = :until, expires = :expires ADD #token :one REMOVE #done"
            taken = self._update(scope, key, change, _FREE, values)
            if taken is not None:
                return Claim(scope, key, int(taken["token"]["N"]))
            found = self._client.get_item(TableName=self._table, Key=_key(scope, key), ConsistentRead=True).get("Item")
            if found is not None and "done" in found:
                return Done()
            if found is not None and float(found["until"]["N"]) > now:
                return Busy(float(found["until"]["N"]) - now)
        return Busy(0.0)

    def _change(self, claim: Claim, field: str, after: float) -> bool:
        at = self._clock.time() + after
        values = {
            ":token": {"N": str(claim.token)},
            ":at": _number(at),
            ":expires": _whole(at + self._retention),
        }
        change = f"SET {field} = :at, expires = :expires"
        return self._update(claim.scope, claim.key, change, _MINE, values) is not None

    def _update(self, scope: str, key: str, change: str, condition: str, values: Any) -> dict[str, Any] | None:
        """Change an item where the condition holds, and return it as it is then; else None."""
        names = {name: real for name, real in _NAMES.items() if name in change or name in condition}
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(scope, key),
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        attributes: dict[str, Any] = answer["Attributes"]
        return attributes

    def _create(self) -> None:
        try:
            self._client.create_table(
                TableName=self._table,
                AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except self._client.exceptions.ResourceInUseException:
            return
        self._client.get_waiter("table_exists").wait(TableName=self._table)
        self._client.update_time_to_live(
            TableName=self._table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
        )


def _key(scope: str, key: str) -> dict[str, dict[str, str]]:
    return {"key": {"S": f"{len(scope)}:{scope}:{key}"}}


def _number(value: float) -> dict[str, str]:
    return {"N": f"{value:.6f}"}


def _whole(value: float) -> dict[str, str]:
    return {"N": str(math.ceil(value))}
