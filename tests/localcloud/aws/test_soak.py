"""Eight clients on eight queues, standard and FIFO: nothing lost, nothing twice without a lease that ended, in order.

POLYBUS_SOAK_SCALE scales it: 1 is 100,000 messages (`make soak`); the default is a fiftieth.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

QUEUES = 8
GROUPS = 5
SEED = 20_260_101
MESSAGES = 100_000
VISIBILITY = 600  # seconds of the server's clock, which the test alone moves on


def scale() -> float:
    return float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))


@dataclass
class Side:
    """One queue's traffic, as its two threads saw it; each field is written by one of them."""

    url: str
    fifo: bool
    total: int
    accepted: list[str] = field(default_factory=list)
    received: list[tuple[str, str, int]] = field(default_factory=list)  # body, group, attempt
    deleted: Counter[str] = field(default_factory=Counter)
    given_back: Counter[str] = field(default_factory=Counter)


def send(client: Any, side: Side, rng: random.Random) -> Iterator[bool]:
    """Send all of a queue's messages, one batch a turn."""
    n = 0
    while n < side.total:
        count = min(rng.randint(1, 10), side.total - n)
        entries = []
        for i in range(n, n + count):
            entry: dict[str, Any] = {"Id": str(i), "MessageBody": f"{i} {'x' * rng.randint(0, 400)}"}
            if side.fifo:
                entry |= {"MessageGroupId": f"g{rng.randrange(GROUPS)}", "MessageDeduplicationId": str(i)}
            entries.append(entry)
        answer = client.send_message_batch(QueueUrl=side.url, Entries=entries)
        assert "Failed" not in answer
        side.accepted += [entry["Id"] for entry in answer["Successful"]]
        n += count
        yield True


def consume(client: Any, side: Side, rng: random.Random, idle: Callable[[], bool]) -> Iterator[bool]:
    """Receive until all is deleted, one batch a turn; give one in fifty back, as a consumer that failed would.

    Polls are long once the thread has nothing else to do: `idle`.
    """
    while len(side.deleted) < side.total:
        answer = client.receive_message(
            QueueUrl=side.url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=5 if idle() else 0,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
        )
        done = []
        failed = False
        for message in answer.get("Messages", []):
            number = message["Body"].split()[0]
            system = message["Attributes"]
            side.received.append((number, system.get("MessageGroupId", ""), int(system["ApproximateReceiveCount"])))
            failed = rng.random() < 0.02 or (failed and side.fifo)  # in a group, what follows a failure goes back too
            if failed:
                side.given_back[number] += 1
                client.change_message_visibility(
                    QueueUrl=side.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )
            else:
                done.append({"Id": number, "ReceiptHandle": message["ReceiptHandle"]})
        if done:
            answer = client.delete_message_batch(QueueUrl=side.url, Entries=done)
            assert "Failed" not in answer
            side.deleted.update(entry["Id"] for entry in answer["Successful"])
        yield True


def check(side: Side) -> None:
    """Nothing lost; each message once, and once more for each time that it was given back; groups in order."""
    everything = {str(n) for n in range(side.total)}
    assert set(side.accepted) == everything
    assert side.deleted == Counter(dict.fromkeys(everything, 1))
    receives = Counter(number for number, _, _ in side.received)
    assert receives == Counter({number: 1 + side.given_back[number] for number in everything})
    assert all(attempt <= receives[number] for number, _, attempt in side.received)
    if side.fifo:
        last: dict[str, int] = defaultdict(lambda: -1)
        for number, group, attempt in side.received:
            if attempt == 1:
                assert int(number) > last[group], f"{number} came after {last[group]} in {group}"
                last[group] = int(number)


def test_eight_threads_on_eight_queues(aws: Any, say: Callable[[str], None]) -> None:
    total = max(round(MESSAGES * scale()), QUEUES)
    sides = []
    for n in range(QUEUES):
        fifo = n % 2 == 1
        url = aws.queue(f"soak{n}" + (".fifo" if fifo else ""), VisibilityTimeout=str(VISIBILITY))
        share = total // QUEUES + (1 if n < total % QUEUES else 0)
        sides.append(Side(url, fifo, share))
    began, cpu = time.monotonic(), time.process_time()

    def run(n: int) -> None:
        """One of eight threads on one queue after another's: it fills its own and empties its neighbour's by turns."""
        sender, consumer = aws.client("sqs"), aws.client("sqs")
        sends = send(sender, sides[n], random.Random(SEED + n))
        running = [sends]
        neighbour = sides[(n + 1) % QUEUES]
        running.append(consume(consumer, neighbour, random.Random(SEED - n), lambda: sends not in running))
        rng = random.Random(SEED * n)
        barrier.wait(60)
        while running:
            turn = rng.choice(running)
            if next(turn, None) is None:
                running.remove(turn)

    barrier = threading.Barrier(QUEUES)
    with ThreadPoolExecutor(QUEUES) as pool:
        list(pool.map(run, range(QUEUES)))
    for side in sides:
        check(side)
        assert aws.depth(side.url) == (0, 0, 0)
    took = time.monotonic() - began
    back = sum(side.given_back.total() for side in sides)
    used = time.process_time() - cpu
    say(
        f"soak: {total} messages, {QUEUES} queues, seed {SEED}: 0 lost, 0 unexplained duplicates, "
        f"{back} given back; {total / took:.0f} messages/s, {used / total * 1e6:.0f} us CPU a message (both sides)"
    )
