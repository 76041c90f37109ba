"""Measures contenders that do the same work, by turns, in one process and one run.

A benchmark module has one function, `run(report)`. It sets up what it needs (a server, a folder), hands contenders to
`report.compare`, and takes down what it set up:

    def run(report: Report) -> None:
        count = report.count(10_000)
        with server() as address:
            report.compare(
                "aws: publish, batches of ten",
                [
                    Contender("polybus", lambda: publish_with_polybus(address, count)),
                    Contender("boto3 by hand", lambda: publish_with_boto3(address, count)),
                ],
                aims=[Aim("cpu", "boto3 by hand", at_most=1.25)],
            )

A contender's function does the work once and returns a Sample; what isn't to be measured (connecting, filling a queue)
it does outside of `measured`. It may be asynchronous: all of a report's coroutines run on one event loop.

    async def publish_with_polybus(...) -> Sample:
        async with polybus.connect(binding) as bus:
            with measured(count) as taken:
                await bus.publish_many("orders", bodies)
        return taken.sample
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Aim", "Comparison", "Contender", "Report", "Row", "Sample", "Stopwatch", "measured"]

ROUNDS = 5
"""Rounds of each comparison: enough for a median and a spread that shows when the machine was busy."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender's work, done once: `messages`, in `wall` seconds, for `cpu` seconds of this process's CPU time."""

    messages: int
    wall: float
    cpu: float


class Stopwatch:
    """What `measured` yields; its sample is there once the block is left."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._sample: Sample | None = None
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def stop(self) -> None:
        self._sample = Sample(self._messages, time.perf_counter() - self._wall, _cpu() - self._cpu)

    @property
    def sample(self) -> Sample:
        if self._sample is None:
            raise RuntimeError("the sample is there after the block of `measured`")
        return self._sample


@contextlib.contextmanager
def measured(messages: int) -> Iterator[Stopwatch]:
    """Measure the block: wall time, and the CPU time of all threads of this process and of children that ended."""
    stopwatch = Stopwatch(messages)
    yield stopwatch
    stopwatch.stop()


def _cpu() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


@dataclass(frozen=True, slots=True)
class Contender:
    """A name, and what does the work once."""

    name: str
    run: Callable[[], Sample | Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Aim:
    """What the first contender should reach.

    Its `rate` (messages a second), `cpu` (microseconds a message) or `best` (milliseconds of its fastest round, for
    what is done once a round) as a multiple of that of the contender `over`, or by itself where `over` is None.
    """

    what: Literal["rate", "cpu", "best"]
    over: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def judge(self, rows: Sequence[Row]) -> Verdict:
        value = self._value(rows[0])
        if self.over is not None:
            (other,) = [row for row in rows if row.name == self.over]
            value = {"rate": other.rate_ratio, "cpu": other.cpu_ratio, "best": value / other.best_ms}[self.what]
        reached = (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)
        return Verdict(self._text(rows[0].name), value, reached)

    def _value(self, row: Row) -> float:
        return {"rate": row.rate, "cpu": row.cpu_us, "best": row.best_ms}[self.what]

    def _text(self, name: str) -> str:
        what = {"rate": "rate", "cpu": "CPU a message", "best": "time"}[self.what]
        bounds = [f"at least {self.at_least:,}"] if self.at_least is not None else []
        bounds += [f"at most {self.at_most:,}"] if self.at_most is not None else []
        unit = f"times that of {self.over}" if self.over else {"rate": "a second", "cpu": "us", "best": "ms"}[self.what]
        return f"{what} of {name}: {' and '.join(bounds)} {unit}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An aim, what was measured, and whether that reaches it."""

    aim: str
    value: float
    reached: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's result: medians over the rounds.

    `rate` is in messages a second, `spread` the distance from the slowest to the fastest round as a part of `rate`,
    `cpu_us` in microseconds a message. `rate_ratio` and `cpu_ratio` are the first contender's over this one's: the
    median of the rounds' own ratios, so that a busy minute counts for both. `best_ms` is the fastest round's wall time
    in milliseconds, divided by `messages`.
    """

    name: str
    messages: int
    rate: float
    spread: float
    cpu_us: float
    rate_ratio: float
    cpu_ratio: float
    best_ms: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one `compare` gave. `unit` is what was counted: messages, or runs of something."""

    title: str
    rounds: int
    rows: Sequence[Row]
    verdicts: Sequence[Verdict] = ()
    note: str = ""
    unit: str = "message"

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Report:
    """Runs contenders and keeps the results.

    `scale` multiplies the work (see `count`); `show` is told each result as soon as it is there, `progress` what is
    running.
    """

    scale: float = 1.0
    show: Callable[[Comparison], None] = lambda comparison: None
    progress: Callable[[str], None] = lambda text: None
    comparisons: list[Comparison] = field(default_factory=list)
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def count(self, messages: int, least: int = 100) -> int:
        """Scale a number of messages."""
        return max(int(messages * self.scale), least)

    def wait(self, work: Awaitable[Any]) -> Any:
        """Run a coroutine on the report's event loop: set-up and take-down of what asynchronous contenders share."""
        return self._runner.run(_await(work))

    def compare(
        self,
        title: str,
        contenders: Sequence[Contender],
        *,
        aims: Sequence[Aim] = (),
        rounds: int = ROUNDS,
        warm_up: bool = True,
        note: str = "",
        unit: str = "message",
    ) -> Comparison:
        """Let each contender work once a round, each round beginning with another one; return and keep the result.

        The first contender is the one that ratios and aims are about. A warm-up round is not counted. `note` says
        what a reader must know to judge the numbers, `unit` what was counted, messages as a rule.
        """
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
        for turn in range(-1 if warm_up else 0, rounds):
            shift = turn % len(contenders)
            for contender in [*contenders[shift:], *contenders[:shift]]:
                self.progress(f"{title}: {contender.name}, round {turn + 1} of {rounds}")
                sample = self._once(contender)
                if turn >= 0:
                    samples[contender.name].append(sample)
        self.progress("")
        first = samples[contenders[0].name]
        rows = [_row(name, taken, first) for name, taken in samples.items()]
        comparison = Comparison(title, rounds, rows, [aim.judge(rows) for aim in aims], note, unit)
        self.comparisons.append(comparison)
        self.show(comparison)
        return comparison

    def _once(self, contender: Contender) -> Sample:
        gc.collect()
        result = contender.run()
        return self.wait(result) if inspect.isawaitable(result) else result

    def close(self) -> None:
        self._runner.close()


async def _await(work: Awaitable[Any]) -> Any:
    return await work


def _row(name: str, samples: Sequence[Sample], first: Sequence[Sample]) -> Row:
    rates = [sample.messages / sample.wall for sample in samples]
    costs = [_cost(sample) for sample in samples]
    rate = statistics.median(rates)
    return Row(
        name=name,
        messages=samples[0].messages,
        rate=rate,
        spread=(max(rates) - min(rates)) / rate,
        cpu_us=statistics.median(costs),
        rate_ratio=statistics.median(one.messages / one.wall / other for one, other in zip(first, rates, strict=True)),
        cpu_ratio=statistics.median(_cost(one) / other for one, other in zip(first, costs, strict=True)),
        best_ms=1e3 / max(rates),
    )


def _cost(sample: Sample) -> float:
    return max(sample.cpu, 1e-9) / sample.messages * 1e6
