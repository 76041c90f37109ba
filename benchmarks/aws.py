"""SNS and SQS: polybus beside boto3 by hand and kombu, on one local server in a process of its own.

By itself: `python -m benchmarks aws`. The server is the same for all, so rates compare; on AWS all of them are bound by
the network, and what stays different is the client's CPU time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polybus
from polybus.binding import Binding, Entity, Kind

from .harness import Aim, Contender, Report, Sample, measured
from .local import environment, served

BODY = "x" * 200
ATTRIBUTES = {"region": "eu", "tenant": "shop-17"}
NATIVE = {name: {"DataType": "String", "StringValue": value} for name, value in ATTRIBUTES.items()}
LOCAL = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}

BOTO3 = "polybus by boto3"
TEN = "boto3 by hand, batches of ten"
ONE = "boto3 by hand, one by one"
KOMBU = "kombu"

NOTE = (
    "Client CPU: all threads of the client's process; the server has its own. boto3 by hand retries nothing, keeps no "
    "lease and tells no outcomes. kombu has no SNS, sends and deletes one message a call, and can't do otherwise."
)


def run(report: Report) -> None:
    with environment(**LOCAL), served("aws") as (host, port):
        bench = Bench(f"http://{host}:{port}")
        many, few = report.count(2_000), report.count(300, 50)
        aims = [Aim("cpu", TEN, at_most=0.35), Aim("rate", TEN, at_least=2), Aim("rate", KOMBU, at_least=12)]
        report.compare(
            "aws: publish to a queue",
            [
                Contender("polybus", lambda: bench.publish("jobs", many, "lean")),
                Contender(BOTO3, lambda: bench.publish("jobs", many, "boto3")),
                Contender(TEN, lambda: bench.send_by_hand(many, 10)),
                Contender(ONE, lambda: bench.send_by_hand(few, 1)),
                Contender(KOMBU, lambda: bench.kombu_publish(few)),
            ],
            aims=aims,
            rounds=3,
            note=NOTE,
        )
        report.compare(
            "aws: receive and ack",
            [
                Contender("polybus", lambda: bench.consume(many, "lean")),
                Contender(BOTO3, lambda: bench.consume(many, "boto3")),
                Contender(TEN, lambda: bench.receive_by_hand(many, 10)),
                Contender(ONE, lambda: bench.receive_by_hand(few, 1)),
                Contender(KOMBU, lambda: bench.kombu_consume(few)),
            ],
            aims=aims,
            rounds=3,
            note=NOTE,
        )
        report.compare(
            "aws: publish to a topic",
            [
                Contender("polybus", lambda: bench.publish("orders", many, "lean")),
                Contender(BOTO3, lambda: bench.publish("orders", many, "boto3")),
                Contender(TEN, lambda: bench.publish_by_hand(many, 10)),
                Contender(ONE, lambda: bench.publish_by_hand(few, 1)),
            ],
            aims=aims[:2],
            rounds=3,
            note=NOTE,
        )


class Bench:
    """A queue and a topic on the server, a queue for kombu, and the work of each contender."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self._endpoint = endpoint
        self._sqs: Any = boto3.client("sqs", endpoint_url=endpoint)
        self._sns: Any = boto3.client("sns", endpoint_url=endpoint)
        self._topic: str = self._sns.create_topic(Name="orders")["TopicArn"]

    def _queue(self) -> str:
        """Make a queue of its own for one piece of work, so that no other's messages are in it."""
        url: str = self._sqs.create_queue(QueueName=f"q{uuid.uuid4().hex[:12]}")["QueueUrl"]
        return url

    def _binding(self, url: str, client: str) -> Binding:
        queue = Entity(kind=Kind.QUEUE, name="jobs", address=url, dead_letter=url)
        topic = Entity(kind=Kind.TOPIC, name="orders", address=self._topic)
        # Short long polls: the consumer is told to stop after each round, and awaits the poll that is under way.
        settings = {"endpoint": self._endpoint, "long_poll": 1, "client": client}
        return Binding(backend="aws", bus="bench", settings=settings, queues={"jobs": queue}, topics={"orders": topic})

    # polybus

    async def publish(self, target: str, count: int, client: str) -> Sample:
        async with polybus.connect(self._binding(self._queue(), client)) as bus:
            await bus.publish(target, BODY, attributes=ATTRIBUTES)  # connects
            with measured(count) as taken:
                await bus.publish_many(target, _messages(count))
        return taken.sample

    async def consume(self, count: int, client: str) -> Sample:
        url = self._queue()
        self._fill(url, count)
        left = count
        done = asyncio.Event()

        async def handle(delivery: polybus.Delivery) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        async with polybus.connect(self._binding(url, client)) as bus:
            await bus.ping()  # connects
            consumer = bus.consumer("jobs", handle, options=polybus.ConsumerOptions(prefetch=100))
            with measured(count) as taken:
                running = asyncio.create_task(consumer.run())
                await done.wait()
            await consumer.drain()
            await running
        self._check_empty(url)
        return taken.sample

    # boto3 by hand

    def send_by_hand(self, count: int, size: int) -> Sample:
        url = self._queue()
        with measured(count) as taken:
            if size == 1:
                for _ in range(count):
                    self._sqs.send_message(QueueUrl=url, MessageBody=BODY, MessageAttributes=NATIVE)
            else:
                self._fill(url, count)
        return taken.sample

    def _fill(self, url: str, count: int) -> None:
        for entries in _batches(count, "MessageBody"):
            answer = self._sqs.send_message_batch(QueueUrl=url, Entries=entries)
            assert "Failed" not in answer

    def publish_by_hand(self, count: int, size: int) -> Sample:
        with measured(count) as taken:
            if size == 1:
                for _ in range(count):
                    self._sns.publish(TopicArn=self._topic, Message=BODY, MessageAttributes=NATIVE)
            else:
                for entries in _batches(count, "Message"):
                    answer = self._sns.publish_batch(TopicArn=self._topic, PublishBatchRequestEntries=entries)
                    assert not answer["Failed"]
        return taken.sample

    def receive_by_hand(self, count: int, size: int) -> Sample:
        url = self._queue()
        self._fill(url, count)
        left = count
        with measured(count) as taken:
            while left:
                messages = self._sqs.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=size,
                    MessageAttributeNames=["All"],
                    MessageSystemAttributeNames=["ApproximateReceiveCount"],
                )["Messages"]
                self._delete(url, messages)
                left -= len(messages)
        self._check_empty(url)
        return taken.sample

    def _delete(self, url: str, messages: Sequence[Any]) -> None:
        if len(messages) == 1:
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=messages[0]["ReceiptHandle"])
            return
        entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
        assert "Failed" not in self._sqs.delete_message_batch(QueueUrl=url, Entries=entries)

    def _check_empty(self, url: str) -> None:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        assert set(found.values()) == {"0"}, found

    # kombu

    def kombu_publish(self, count: int) -> Sample:
        with self._kombu() as (connection, queue), connection.Producer(serializer="json") as producer:
            publish = _kombu_publish(producer, queue)
            publish()  # connects, and makes the queue
            with measured(count) as taken:
                for _ in range(count):
                    publish()
        return taken.sample

    def kombu_consume(self, count: int) -> Sample:
        with self._kombu() as (connection, queue):
            with connection.Producer(serializer="json") as producer:
                publish = _kombu_publish(producer, queue)
                for _ in range(count):
                    publish()
            left = count

            def handle(body: Any, message: Any) -> None:
                nonlocal left
                message.ack()
                left -= 1

            with connection.Consumer(queue, callbacks=[handle], prefetch_count=100), measured(count) as taken:
                while left:
                    connection.drain_events(timeout=60)
        return taken.sample

    @contextlib.contextmanager
    def _kombu(self) -> Iterator[tuple[Any, Any]]:
        import kombu

        host = self._endpoint.removeprefix("http://")
        options = {"is_secure": False, "region": LOCAL["AWS_DEFAULT_REGION"], "wait_time_seconds": 1}
        with kombu.Connection(f"sqs://local:local@{host}//", transport_options=options) as connection:
            yield connection, kombu.Queue(f"k{uuid.uuid4().hex[:12]}", durable=True)


def _kombu_publish(producer: Any, queue: Any) -> Callable[[], None]:
    def publish() -> None:
        producer.publish(BODY, routing_key=queue.name, headers=ATTRIBUTES, declare=[queue])

    return publish


def _messages(count: int) -> Iterator[polybus.Message]:
    return (polybus.Message(BODY.encode(), ATTRIBUTES) for _ in range(count))


def _batches(count: int, body: str) -> Iterator[list[dict[str, Any]]]:
    numbers = iter(range(count))
    while batch := list(itertools.islice(numbers, 10)):
        yield [{"Id": str(number), body: BODY, "MessageAttributes": NATIVE} for number in batch]
