"""The suite against a real account: what POLYBUS_LIVE asks for, what a run makes there, and how all of it goes again.

Everything that a run makes is named `<prefix>-live-<time of its start>-<random>-...`. Nothing else is ever deleted, by
a run or by `sweep.py`; runs that are under way at once don't meet.
"""

from __future__ import annotations

import datetime
import importlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from polybus.plan.values import Ref, Resource, resolve

__all__ = ["CLOUDS", "Account", "Item", "LiveError", "Run", "Stay", "account", "choose", "prefix", "wanted"]

CLOUD, PREFIX = "POLYBUS_LIVE", "POLYBUS_LIVE_PREFIX"
CLOUDS = ("aws", "azure", "gcp")

# With a run's name, the longest entry of the suite and `-dead-letters.fifo` it stays under SQS's 80 characters.
_PREFIX = re.compile(r"[a-z][a-z0-9]{1,11}")
_STAMP = "%Y%m%dt%H%M%Sz"
_OWNED = r"-live-(\d{8}t\d{6}z)-[0-9a-f]{6}(?=-)"
# Calls that delete at once: what one run makes is gone in seconds, and no cloud's quota of such calls is near.
_TOGETHER = 8

_STAYS: list[Stay] = []

Outputs = dict[str, str]


class LiveError(Exception):
    """The account can't be used as it is; the text says what to set or to do."""


def wanted() -> str | None:
    """Return the cloud whose account the suite is to use, None without POLYBUS_LIVE."""
    cloud = os.environ.get(CLOUD) or None
    if cloud is not None and cloud not in CLOUDS:
        raise LiveError(f"{CLOUD}: found {cloud!r}; it takes {', '.join(CLOUDS)}; unset it for the local servers")
    return cloud


def prefix() -> str:
    """Return the mandatory beginning of every name."""
    found = os.environ.get(PREFIX, "")
    if _PREFIX.fullmatch(found) is None or found.startswith("goog"):
        said = f"found {found!r}" if found else "it isn't set"
        raise LiveError(
            f"{PREFIX}: {said}; set what all names in the account begin with, such as your team's: 2 to 12 of a-z and "
            "0-9, a letter first, not goog"
        )
    return found


def choose(cloud: str, local: type[Any]) -> type[Any]:
    """Return the rig that the suite uses on a cloud: the local one, or the live one where POLYBUS_LIVE asks for it."""
    if os.environ.get(CLOUD) != cloud:
        return local
    rig: type[Any] = importlib.import_module(f".rig_live_{cloud}", __package__).LiveRig
    return rig


def account(cloud: str) -> Account:
    """Open the account; raises LiveError where a setting or a credential is missing or refused."""
    opened: Account = importlib.import_module(f".account_{cloud}", __package__).open_account()
    return opened


@dataclass(frozen=True, slots=True)
class Item:
    """What is deleted by itself: a topic, a queue, or a subscription that isn't deleted with its topic."""

    kind: str
    name: str
    address: str


class Account(Protocol):
    """One cloud's account; used from threads."""

    where: str
    """Which account, in words."""

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> Outputs:
        """Make one resource of a plan, as the cloud's `Realiser` does."""

    def inputs(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """Name properties as the provider does."""

    def made(self, type_: str, outputs: Mapping[str, str]) -> Item | None:
        """Return what `create` made, where it is deleted by itself."""

    def find(self, start: str) -> Iterable[Item]:
        """List what is there with a name that begins so."""

    def delete(self, item: Item) -> None:
        """Delete it; what isn't there any more is fine."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run's own names: `prefix`, the bus's name, and `stack`."""

    prefix: str
    stack: str

    @classmethod
    def begin(cls, prefix: str) -> Run:
        stamp = datetime.datetime.now(datetime.UTC).strftime(_STAMP)
        return cls(prefix, f"live-{stamp}-{secrets.token_hex(3)}")

    @classmethod
    def of(cls, prefix: str, name: str) -> Run | None:
        """Return the run of this prefix that made what has this name, None for anything else's."""
        found = re.match(re.escape(prefix) + _OWNED, name)
        return cls(prefix, found[0].removeprefix(f"{prefix}-")) if found else None

    @property
    def start(self) -> str:
        """What the name of everything begins with that this run makes."""
        return f"{self.prefix}-{self.stack}-"

    @property
    def age(self) -> float:
        """Seconds since it began, by this machine's clock."""
        stamp = self.stack.split("-")[1]
        began = datetime.datetime.strptime(stamp, _STAMP).replace(tzinfo=datetime.UTC)
        return (datetime.datetime.now(datetime.UTC) - began).total_seconds()


class Stay:
    """What one run has in an account, from its first resource until all are deleted.

    `end` may be called at any time, twice, and from another thread than `realise`: it waits for the resource that is
    being made, and no other is made after it.
    """

    def __init__(self, account: Account, run: Run) -> None:
        self.account = account
        self.run = run
        self._made: dict[str, Item] = {}
        self._making = threading.Lock()
        self._ended = False
        self.report = f"{account.where}; run {run.prefix}-{run.stack}"
        _STAYS.append(self)

    def realise(self, resources: Iterable[Resource]) -> dict[str, Outputs]:
        """Make the resources of a plan; return their outputs. Blocks."""
        outputs: dict[str, Outputs] = {}

        def find(ref: Ref) -> str:
            return outputs[ref.resource][ref.output]

        began = time.monotonic()
        for resource in resources:
            with self._making:
                if self._ended:
                    raise LiveError("the run was ended while its entities were made")
                inputs = self.account.inputs(resolve(resource.properties, find))
                outputs[resource.name] = self.account.create(resource.type, resource.name, inputs)
                item = self.account.made(resource.type, outputs[resource.name])
                if item is not None:
                    self._made[item.address] = item
        self.report += f"; {len(self._made)} entities made in {time.monotonic() - began:.0f} s"
        return outputs

    def end(self) -> None:
        """Delete everything of this run; raises LiveError with what couldn't be. Blocks."""
        with self._making:
            if self._ended:
                return
            self._ended = True
        # Listed too: a call whose answer was lost has made something that nobody noted. Lists lag behind, hence both.
        items, left = dict(self._made), []
        try:
            items |= {item.address: item for item in self.account.find(self.run.start)}
        except Exception as error:  # noqa: BLE001 - what was noted is deleted all the same, and this is told
            left.append(f"what else there may be: {type(error).__name__}: {error}")
        failed = remove(self.account, items.values())
        self.report += f"; {len(items) - len(failed)} deleted"
        self.account.close()
        left += failed
        if left:
            raise LiveError(
                f"not deleted from {self.account.where}, begins with {self.run.start}: {len(left)}, the first "
                f"{left[0]}; `python -m tests.conformance.sweep` deletes it later"
            )


def remove(account: Account, items: Iterable[Item]) -> list[str]:
    """Delete items; return for each that couldn't be its name and why."""

    def delete(item: Item) -> str | None:
        try:
            account.delete(item)
        except Exception as error:  # noqa: BLE001 - the others are deleted all the same, and this is told
            return f"{item.kind} {item.name}: {type(error).__name__}: {error}"
        return None

    with ThreadPoolExecutor(_TOGETHER) as threads:
        return [problem for problem in threads.map(delete, items) if problem is not None]


def end_all() -> list[str]:
    """Delete what every run of this process has left; return a line on each run."""
    lines = []
    while _STAYS:
        stay = _STAYS.pop()
        try:
            stay.end()
        except LiveError as error:
            stay.report += f"; {error}"
        lines.append(stay.report)
    return lines
