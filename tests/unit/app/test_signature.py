"""What a handler's signature may be, and what is said of one that may not."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from polybus import errors
from polybus.app.signature import Signature, read_signature
from polybus.bus import delivery as delivery_module
from polybus.bus.delivery import Delivery
from polybus.message import Message

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

    from polybus.bus.delivery import Delivery as HiddenDelivery

DELIVERY: Any = object()  # handed through, never looked at


@dataclasses.dataclass
class Order:
    id: int


def read(function: Callable[..., Any], **scope: Any) -> Signature:
    return read_signature(function, scope)


def called(function: Callable[..., Any], body: bytes = b'{"id": 1}', **scope: Any) -> Any:
    signature = read(function, **scope)
    return signature.call(signature.decode(Message(body)), DELIVERY)


def test_the_body_alone() -> None:
    def handle(order: Order) -> Any:
        return order

    assert called(handle) == Order(1)


def test_a_class_that_is_local_to_the_function_around_the_handler() -> None:
    @dataclasses.dataclass
    class Local:
        id: int

    def handle(order: Local) -> Any:
        return order

    assert called(handle, Local=Local) == Local(1)


def test_a_class_from_the_closure() -> None:
    @dataclasses.dataclass
    class Local:
        id: int

    def handle(order: Local) -> Any:
        return Local, order

    assert called(handle) == (Local, Local(1))


@pytest.mark.parametrize("form", ["positional", "keyword", "by name", "qualified", "hidden", "after a default"])
def test_the_delivery_is_recognised(form: str) -> None:
    def positional(order: Order, shipment: Delivery, /) -> Any:
        return order, shipment

    def keyword(order: Order, *, shipment: Delivery) -> Any:
        return order, shipment

    def by_name(order: Order, delivery) -> Any:  # type: ignore[no-untyped-def]
        return order, delivery

    def qualified(order: Order, shipment: delivery_module.Delivery) -> Any:
        return order, shipment

    def hidden(order: Order, delivery: HiddenDelivery) -> Any:
        return order, delivery

    def spaced(order: Order, times: int = 3, shipment: Delivery = DELIVERY) -> Any:
        return (order, shipment) if times == 3 else None

    functions: dict[str, Callable[..., Any]] = {
        "positional": positional,
        "keyword": keyword,
        "by name": by_name,
        "qualified": qualified,
        "hidden": hidden,
        "after a default": spaced,
    }
    assert called(functions[form]) == (Order(1), DELIVERY)


def test_a_handler_of_the_delivery_alone_decodes_nothing() -> None:
    def handle(delivery: Delivery) -> Any:
        return delivery

    assert called(handle, b"\xff{") is DELIVERY


def test_methods_partials_decorated_functions_and_objects() -> None:
    class Service:
        def handle(self, order: Order) -> Any:
            return self, order

        def __call__(self, order: Order) -> Any:
            return "called", order

    def with_prefix(prefix: str, order: Order) -> Any:
        return prefix, order

    def plain(order: Order) -> Any:
        return order

    @functools.wraps(plain)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return "decorated", plain(*args, **kwargs)

    service = Service()
    assert called(service.handle) == (service, Order(1))
    assert called(service) == ("called", Order(1))
    assert called(functools.partial(with_prefix, "p")) == ("p", Order(1))
    assert called(decorated) == ("decorated", Order(1))
    assert read(service.handle).name.endswith("Service.handle")
    assert read(functools.partial(with_prefix, "p")).name.endswith("with_prefix")
    assert read(service).name.endswith("Service.__call__")


def test_what_blocks_is_known() -> None:
    async def coroutine(order: Order) -> None: ...

    def plain(order: Order) -> None: ...

    class Callable_:
        async def __call__(self, order: Order) -> None: ...

    assert not read(coroutine).blocking
    assert not read(functools.partial(coroutine)).blocking
    assert not read(Callable_()).blocking
    assert read(plain).blocking


def wrong_functions() -> Iterator[tuple[Callable[..., Any], str]]:
    async def nothing() -> None: ...

    yield nothing, "takes no parameters"

    async def bare(order) -> None: ...  # type: ignore[no-untyped-def]

    yield bare, "'order', has no annotation"

    async def keyword(*, order: Order) -> None: ...

    yield keyword, r"first parameter, 'order', can't take the body"

    async def star(*orders: Order) -> None: ...

    yield star, r"first parameter, '\*orders', can't take the body"

    async def third(order: Order, delivery: Delivery, session: int) -> None: ...

    yield third, "nothing fills its parameter \"session: 'int'\""

    async def variadic(order: Order, **options: int) -> None: ...

    yield variadic, r"nothing fills its parameter"

    async def swapped(delivery: Delivery, order: Order) -> None: ...

    yield swapped, "nothing fills its parameter \"order: 'Order'\""

    async def twice(delivery: Delivery, again: Delivery) -> None: ...

    yield twice, "asks for the delivery twice"

    async def both(order: Order, one: Delivery, two: Delivery) -> None: ...

    yield both, "'one' and 'two' both ask"

    async def misnamed(order: Order, delivery: int) -> None: ...

    yield misnamed, "\"delivery: 'int'\" is not a polybus.Delivery"

    async def undecodable(order: Delivery | None) -> None: ...

    yield undecodable, "can't be decoded to 'order': Delivery has no JSON form"

    async def callback(order: Callable[[int], int]) -> None: ...

    yield callback, "can't be decoded to 'order'"

    async def unresolvable(order: OnlyForCheckers) -> None: ...

    yield unresolvable, r"'OnlyForCheckers' of 'order' can't be resolved \(NameError: .*not under TYPE_CHECKING"

    async def generator(order: Order) -> AsyncIterator[None]:
        yield

    yield generator, "it is a generator"

    def plain_generator(order: Order) -> Iterator[None]:
        yield

    yield plain_generator, "it is a generator"
    yield Order, "it is a type, not a function"
    yield 5, "it is a int, not a function"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("function", "said"), list(wrong_functions()), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_wrong_signature_is_refused_with_place_and_what_is_allowed(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(errors.ConfigError, match=said) as caught:
        read(function)
    text = str(caught.value)
    assert "a handler is `async def` or `def` (body: T) or (body: T, delivery: polybus.Delivery)" in text
    if hasattr(function, "__code__"):
        assert f"{function.__qualname__} ({__file__}:{function.__code__.co_firstlineno})" in text
