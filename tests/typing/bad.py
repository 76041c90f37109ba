"""What a type checker must refuse, each line with the code that it must get; checked by test_typing.py, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import polybus
from polybus.provision import MessageBus


@dataclass
class Order:
    id: int


app = polybus.App()


@app.handler("orders")  # error: type-var
async def second_parameter_is_no_delivery(order: Order, delivery: int) -> None: ...


@app.handler("orders")  # error: type-var
async def three_parameters(order: Order, delivery: polybus.Delivery, session: str) -> None: ...


@app.handler("orders", executor="fork")  # error: arg-type
def runs_where(order: Order) -> None: ...


@app.handler  # error: arg-type
async def without_parentheses(order: Order) -> None: ...


@app.handler("orders")  # error: type-var
async def no_parameters() -> None: ...


@app.handler("orders")  # error: type-var
async def returns_something(order: Order) -> int:
    return 1


@app.handler("orders")  # error: type-var
def blocking_returns_something(order: Order) -> str:
    return ""


@app.handler(Order)  # error: arg-type
async def source_is_no_name(order: Order) -> None: ...


@app.handler("orders", concurrency="16")  # error: arg-type
async def concurrency_is_text(order: Order) -> None: ...


@app.handler("orders")
async def bill(order: Order, delivery: polybus.Delivery) -> None:
    print(delivery.attempts)  # error: attr-defined
    print(delivery.attempt + "1")  # error: operator
    delivery.ack()  # error: unused-coroutine
    await delivery.nack(delay=b"5")  # error: arg-type
    delivery.message.body = b""  # error: misc
    print(order.customer)  # error: attr-defined


@app.lifespan  # error: type-var
async def no_generator(app: polybus.App) -> None: ...


@app.lifespan  # error: type-var
async def takes_a_bus(bus: polybus.Bus) -> AsyncIterator[None]:
    yield


def use_number(number: int) -> None: ...


async def use(delivery: polybus.Delivery) -> None:
    await bill(5, delivery)  # error: arg-type
    async with polybus.connect() as bus:
        await bus.publish(123, b"")  # error: arg-type
        await bus.publish("orders")  # error: call-arg
        await bus.publish("orders", b"", attributes={"n": 1})  # error: dict-item
        await bus.publish("orders", b"", ordering_key=7)  # error: arg-type
        use_number(await bus.publish("orders", b""))  # error: arg-type
        bus.consume("billing", prefetch="many")  # error: arg-type
    polybus.connect(42)  # error: arg-type
    with polybus.connect():  # error: attr-defined
        pass


def use_blocking() -> None:
    with polybus.sync.connect() as bus:
        bus.publish(123, b"")  # error: arg-type
        use_number(bus.publish("orders", b""))  # error: arg-type
        with bus.consume("billing") as deliveries:
            print(next(deliveries).attempts)  # error: attr-defined
            next(deliveries).lost = True  # error: misc


def use_stack() -> None:
    MessageBus("bus", topology="polybus.toml", cloud="aws", settings={"region": "eu-west-1"})  # error: arg-type
