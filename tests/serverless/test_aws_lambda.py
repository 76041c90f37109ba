"""Lambda: batches, order, time, and events that aren't for us."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
from shop import TOPIC, Order, Shop, binding, event

from polybus import App, BatchFailed, ConfigError, Delivery, ManualClock, SteppedClock
from polybus.errors import BindingError, NotDeclared
from polybus.middleware import Middleware
from polybus.serverless import AwsLambda, HandlersFailed, aws_lambda
from polybus.telemetry import NoHooks, Settled

Make = Callable[..., AwsLambda]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[AwsLambda] = []

    def make(app: App, *given: Any, **options: Any) -> AwsLambda:
        made.append(aws_lambda(app, *(given or (binding("aws"),)), **options))
        return made[-1]

    yield make
    for function in made:
        function.close()


def batch(name: str, *orders: str, groups: str = "") -> dict[str, Any]:
    """An event of the documented shape with a record for each order; `groups` has a message group's letter for each."""
    template = event(name)["Records"][0]
    records = []
    for place, order in enumerate(orders):
        record = copy.deepcopy(template)
        record["messageId"] = f"m{place}"
        record["body"] = json.dumps({"id": order})
        if groups:
            record["attributes"]["MessageGroupId"] = groups[place]
        records.append(record)
    return {"Records": records}


def failed(answer: dict[str, Any] | None) -> list[str]:
    assert answer is not None
    assert list(answer) == ["batchItemFailures"]
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def test_of_a_batch_only_what_failed_comes_again(make: Make) -> None:
    shop = Shop()
    assert failed(make(shop.app)(batch("sqs", "a", "fails", "b", "later", "c"))) == ["m1", "m3"]
    assert sorted(shop.ids) == ["a", "b", "c", "fails", "later"]


def test_the_apps_middleware_is_around_a_functions_handlers(make: Make) -> None:
    class Refuses(Middleware):
        async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
            if b"wrong" in delivery.body:
                raise ValueError("not here")
            await proceed(delivery.with_message(msgspec.structs.replace(delivery.message, body=b'{"id": "changed"}')))

    shop = Shop()
    shop.app.middleware(Refuses())
    assert failed(make(shop.app)(batch("sqs", "a", "wrong"))) == ["m1"]
    assert shop.ids == ["changed"]


def test_all_done_is_an_empty_list(make: Make) -> None:
    assert make(Shop().app)(batch("sqs", "a", "b")) == {"batchItemFailures": []}


def test_without_partial_batches_a_failure_fails_the_batch(make: Make) -> None:
    function = make(Shop().app, partial_batches=False)
    with pytest.raises(HandlersFailed, match=r"1 of 2 messages of 'billing' failed \(m1\); all of the batch") as raised:
        function(batch("sqs", "a", "fails"))
    assert raised.value.ids == ("m1",)
    assert function(batch("sqs", "a", "b")) == {"batchItemFailures": []}


def test_after_a_failure_the_rest_of_its_message_group_is_given_back(make: Make) -> None:
    shop = Shop("packing")
    answer = make(shop.app)(batch("sqs_fifo", "a1", "b1", "fails", "a2", "b2", "b3", groups="ABAABB"))
    assert failed(answer) == ["m2", "m3"]
    assert [id_ for id_ in shop.ids if id_.startswith("b")] == ["b1", "b2", "b3"]
    assert "a2" not in shop.ids


def test_a_message_groups_order_is_kept_and_groups_run_together(make: Make) -> None:
    begun: list[str] = []
    both = threading.Barrier(2)
    app = App()

    @app.handler("packing")
    def pack(order: Order, delivery: Delivery) -> None:
        begun.append(order.id)
        if order.id.endswith("1"):
            both.wait(30)  # neither group waits for the other
        assert delivery.ordering_key == order.id[0]

    make(app)(batch("sqs_fifo", "A1", "A2", "B1", "B2", groups="AABB"))
    assert sorted(begun[:2]) == ["A1", "B1"]
    assert [id_ for id_ in begun if id_[0] == "A"] == ["A1", "A2"]
    assert [id_ for id_ in begun if id_[0] == "B"] == ["B1", "B2"]


def test_fair_queues_groups_do_not_make_a_standard_queue_ordered(make: Make) -> None:
    shop = Shop()
    assert failed(make(shop.app)(batch("sqs", "fails", "a", groups="AA"))) == ["m0"]
    assert sorted(shop.ids) == ["a", "fails"]


def test_concurrency_is_the_handlers_own(make: Make) -> None:
    app, now, most = App(), 0, 0

    @app.handler("billing", concurrency=2)
    async def bill(order: Order) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    assert failed(make(app)(batch("sqs", *"abcdef"))) == []
    assert most == 2


class Context:
    """Lambda's context object, as far as it is used."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def test_what_still_runs_before_the_functions_time_is_over_comes_again_and_the_rest_is_done(make: Make) -> None:
    app, cancelled, clock = App(clock=SteppedClock()), [], SteppedClock()
    settled: list[tuple[str, str]] = []

    class Hooks(NoHooks):
        def settled(self, event: Settled) -> None:
            settled.append((event.message.id, event.outcome))

    app = App(clock=clock, hooks=[Hooks()])

    @app.handler("billing")
    async def bill(order: Order) -> None:
        if order.id != "slow":
            return
        try:
            clock.advance(2.5)  # of the 3 s, a tenth is kept
            await asyncio.sleep(0)
            clock.advance(0.25)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(order.id)
            raise

    assert failed(make(app)(batch("sqs", "a", "slow", "b"), Context(3))) == ["m1"]
    assert cancelled == ["slow"]
    assert sorted(settled) == [("m0", "ack"), ("m1", "lease_lost"), ("m2", "ack")]


def test_a_blocking_handler_finds_its_delivery_lost_and_comes_again(make: Make) -> None:
    clock, over, seen = SteppedClock(), threading.Event(), []
    app = App(clock=clock)

    @app.handler("billing")
    def bill(order: Order, delivery: Delivery) -> None:
        clock.advance(3)
        assert over.wait(30)
        seen.append(delivery.lost)

    assert failed(make(app)(batch("sqs", "a"), Context(3))) == ["m0"]
    over.set()
    while not seen:
        over.wait(0.01)
    assert seen == [True]


def test_what_waits_for_a_slot_when_time_is_over_is_not_begun(make: Make) -> None:
    clock, begun = SteppedClock(), []
    app = App(clock=clock)

    @app.handler("billing", concurrency=1)
    async def bill(order: Order) -> None:
        begun.append(order.id)
        clock.advance(3)
        await asyncio.Event().wait()

    assert failed(make(app)(batch("sqs", "a", "b"), Context(3))) == ["m0", "m1"]
    assert begun == ["a"]


def test_binary_attributes_come_as_base64(make: Make) -> None:
    shop = Shop()
    make(shop.app)(event("sqs"))
    assert shop.deliveries[0].attributes == {"region": "eu", "digest": "3q2+7w=="}
    assert shop.deliveries[0].message.published_at == 1545082649.183


def test_the_last_attempt_is_dead_lettered_by_the_platform_where_there_is_nowhere_to_send_it(make: Make) -> None:
    shop = Shop()
    assert failed(make(shop.app, binding("aws", max_attempts=1))(batch("sqs", "fails"))) == ["m0"]


def test_the_source_is_found_by_the_queue_and_by_the_topic(make: Make) -> None:
    shop = Shop("billing", "packing")
    function = make(shop.app)
    function(batch("sqs", "a"))
    function(batch("sqs_fifo", "b"))
    assert [delivery.source for delivery in shop.deliveries] == ["billing", "packing"]


def test_an_event_of_a_queue_that_the_app_does_not_handle_is_refused_whole(make: Make) -> None:
    shop = Shop("packing")
    function = make(shop.app)
    with pytest.raises(ConfigError, match=r"shop-billing is none of what the app handles \(packing\) in bus 'shop'"):
        function(batch("sqs", "a"))
    with pytest.raises(ConfigError, match="shop-orders is none"):
        function(event("sns"))
    assert shop.ids == []


def test_handles_takes_events_from_anywhere(make: Make) -> None:
    shop = Shop("billing", "packing")
    given = batch("sqs", "a")
    given["Records"][0]["eventSourceARN"] = "arn:aws:sqs:us-east-2:123456789012:other"
    assert failed(make(shop.app, handles="billing")(given)) == []
    assert shop.deliveries[0].source == "billing"


def test_bad_settings_are_refused_before_the_first_event() -> None:
    with pytest.raises(ConfigError, match="handles='bills': the app has no handler of it; there are: billing"):
        aws_lambda(Shop().app, binding("aws"), handles="bills")
    with pytest.raises(ConfigError, match="no handlers"):
        aws_lambda(App(), binding("aws"))


def test_a_missing_binding_is_refused_at_import(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BindingError, match="POLYBUS_BINDING is not set"):
        aws_lambda(Shop().app)


def test_a_service_handles_its_pushes_and_nothing_undeclared(make: Make) -> None:
    shop = Shop("billing", service="billing")
    assert make(shop.app, binding("aws", push=True))(event("sns")) is None
    undeclared = Shop("packing", service="billing")
    with pytest.raises(NotDeclared, match=r"\$\.services\.billing\.consumes"):
        make(undeclared.app)(batch("sqs_fifo", "a"))


def test_a_service_that_the_binding_does_not_know_fails_every_invocation(make: Make) -> None:
    function = make(Shop(service="bills").app)
    for _ in range(2):
        with pytest.raises(NotDeclared, match="bills"):
            function(batch("sqs", "a"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no Records"),
        ({"Records": []}, "no Records"),
        ({"detail-type": "Scheduled Event", "source": "aws.events"}, "no Records"),
        ({"Records": [{"eventSource": "aws:s3"}]}, "'aws:s3': only aws:sqs and aws:sns"),
    ],
)
def test_events_of_others_are_refused_by_name(make: Make, given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(Shop().app)(given)


def test_a_failed_sns_event_says_what_lambda_does_next(make: Make) -> None:
    given = event("sns")
    given["Records"][0]["Sns"]["Message"] = '{"id": "fails"}'
    with pytest.raises(HandlersFailed, match="Lambda tries twice more, then its destination") as raised:
        make(Shop().app, binding("aws", push=True))(given)
    assert raised.value.ids == ("95df01b4-ee98-5cb9-9903-4c221d41eb5e",)


def test_an_app_that_can_not_start_fails_the_invocation_and_is_tried_again(make: Make) -> None:
    app, attempts = App(), []

    @app.lifespan
    async def resources(app: App) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("no database yet")
        yield

    @app.handler("billing")
    async def bill(order: Order) -> None:
        assert app.bus.backend == "aws"

    function = make(app)
    with pytest.raises(RuntimeError, match="no database yet"):
        function(batch("sqs", "a"))
    assert failed(function(batch("sqs", "a"))) == []


def test_lifespan_and_invocations_share_one_loop(make: Make) -> None:
    app, loops = App(clock=ManualClock()), []

    @app.lifespan
    async def resources(app: App) -> Any:
        loops.append(asyncio.get_running_loop())
        yield

    @app.handler("billing")
    async def bill(order: Order) -> None:
        loops.append(asyncio.get_running_loop())

    function = make(app)
    function(batch("sqs", "a"))
    function(batch("sqs", "b"))
    assert len(loops) == 3
    assert len(set(map(id, loops))) == 1


def test_a_topic_that_pushes_to_two_handlers_needs_saying_which(make: Make) -> None:
    given = binding("aws", push=True)
    given.subscriptions["mail"] = given.subscriptions["billing"]  # type: ignore[index]  # a dict, in truth
    with pytest.raises(ConfigError, match=f"{TOPIC} is where billing, mail come from: say which by handles"):
        make(Shop("billing", "mail").app, given)(event("sns"))


def test_a_batch_handler_takes_what_an_event_holds_and_only_what_failed_comes_again(make: Make) -> None:
    app, calls = App(), list[list[str]]()

    @app.handler("billing", max_batch=3, max_wait=300)
    async def bill(orders: list[Order]) -> None:
        calls.append([order.id for order in orders])
        failed = {place: ValueError(order.id) for place, order in enumerate(orders) if order.id == "fails"}
        if failed:
            raise BatchFailed(failed)

    assert failed(make(app)(batch("sqs", "a", "fails", "b", "c"))) == ["m1"]
    assert calls == [["a", "fails", "b"], ["c"]]  # nobody waits for more than the event holds


def test_a_blocking_batch_handler_fails_all_that_it_was_given(make: Make) -> None:
    app = App()

    @app.handler("billing", max_batch=2, concurrency=2)
    def bill(orders: list[Order]) -> None:
        if any(order.id == "fails" for order in orders):
            raise ValueError("one is no good")

    assert failed(make(app)(batch("sqs", "a", "fails", "b"))) == ["m0", "m1"]


def test_a_batch_keeps_the_order_of_its_message_groups(make: Make) -> None:
    app, calls = App(), list[list[str]]()

    @app.handler("packing", max_batch=4)
    async def pack(orders: list[Order], deliveries: list[Delivery]) -> None:
        calls.append([order.id for order in orders])
        assert [delivery.ordering_key for delivery in deliveries] == [order.id[0] for order in orders]
        if "A2" in calls[-1]:
            raise BatchFailed({orders.index(Order("A2")): ValueError("not yet")})

    answer = make(app)(batch("sqs_fifo", "A1", "B1", "A2", "A3", "B2", "A4", "B3", groups="ABAABAB"))
    assert calls == [["A1", "B1", "A2", "A3"], ["B2", "B3"]]
    assert failed(answer) == ["m2", "m3", "m5"]


def test_a_batch_keeps_the_order_of_its_message_groups_through_middleware(make: Make) -> None:
    class Slow(Middleware):
        async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
            for _ in range(0 if b"2" in delivery.body else 5):
                await asyncio.sleep(0)  # the second of each group comes through first
            if b"3" not in delivery.body:  # it is kept: nobody waits for it
                await proceed(delivery)

    app, calls = App(middleware=[Slow()]), list[list[str]]()

    @app.handler("packing", max_batch=10)
    async def pack(orders: list[Order]) -> None:
        calls.append([order.id for order in orders])

    assert failed(make(app)(batch("sqs_fifo", "A1", "B1", "A2", "B2", "A3", groups="ABABA"))) == []
    assert calls == [["A1", "B1", "A2", "B2"]]
