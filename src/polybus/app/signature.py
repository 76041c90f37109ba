"""What a handler asks for, read once from its signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, get_args, get_origin

from polybus.body import ALLOWED, Decoder, decoder
from polybus.bus.delivery import Delivery
from polybus.errors import ConfigError

__all__ = ["Filling", "Signature", "blocks", "describe", "read_signature"]

_FORMS = (
    "a handler is `async def` or `def` (body: T) or (body: T, delivery: polybus.Delivery), "
    f"returns nothing, and T is {ALLOWED}"
)
_BATCH_FORMS = (
    "a handler with max_batch is `async def` or `def` (bodies: list[T]) or (bodies: list[T], deliveries: "
    f"list[polybus.Delivery]), returns nothing, and T is polybus.Delivery or {ALLOWED}"
)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Signature:
    """How to make a handler's arguments of a delivery, and whether its calls block.

    `decode` raises DecodeError. `call` takes the decoded body and the delivery, or, for a batch, a list of each.
    `place` is `file:line`.
    """

    name: str
    place: str
    decode: Decoder
    call: Callable[[Any, Any], Any]
    blocking: bool
    filled: bool = False
    """Whether a parameter is filled by what `read_signature` was given for that."""
    annotation: Any = Delivery
    """The type of a body; Delivery where none is asked for."""


Filling = Callable[[Any], Callable[[], Any] | None]
"""Says, by its annotation, what gives the value of a further parameter at each call; None for one that it doesn't fill.

Raises TypeError for one that it could fill in another handler.
"""


def read_signature(
    function: Callable[..., Any], scope: Mapping[str, Any], *, batch: bool = False, filling: Filling | None = None
) -> Signature:
    """Read a handler's signature; raise ConfigError that names the function, its place and what is allowed.

    With `batch` its parameters are lists. `filling` fills parameters beside the body and the delivery.

    `scope` has the local names at the place of the decoration: with them, annotations that are text (`from __future__
    import annotations`) may name a class that was declared within a function.
    """
    name, place = describe(function)
    reader = (_BatchReader if batch else _Reader)(function, scope, filling)
    try:
        decode, call = reader.read()
    except _WrongSignature as error:
        forms = _BATCH_FORMS if batch else _FORMS
        raise ConfigError(f"handler {name} ({place}): {error}; {forms}") from None
    return Signature(name, place, decode, call, blocks(function), bool(reader.filled), reader.annotation)


def blocks(function: Callable[..., Any]) -> bool:
    """Say whether a call of a handler blocks."""
    return not inspect.iscoroutinefunction(_callee(function))


def describe(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the name of a function, and its `file:line`."""
    plain = _plain(function)
    named: Any = plain or (function if hasattr(function, "__qualname__") else type(function))
    place = f"{plain.__code__.co_filename}:{plain.__code__.co_firstlineno}" if plain else "not in a Python file"
    return f"{named.__module__}.{named.__qualname__}", place


def _callee(function: Any) -> Any:
    """Return what runs when `function` is called: its `__call__` where it is an object of its own."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _plain(function: Any) -> FunctionType | None:
    """Return the function that was written, beneath partials, decorators, methods and objects that can be called."""
    while not isinstance(function, FunctionType):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        elif inspect.isclass(function) or not isinstance(getattr(type(function), "__call__", None), FunctionType):  # noqa: B004
            return None
        else:
            function = type(function).__call__
    unwrapped = inspect.unwrap(function)
    return unwrapped if isinstance(unwrapped, FunctionType) else function


class _WrongSignature(Exception):
    """What is wrong, without the place."""


class _Reader:
    """Reads the parameters of a handler; `named` is what the one that takes the delivery, a `wanted`, may be called."""

    named = "delivery"
    wanted = "polybus.Delivery"

    def __init__(self, function: Callable[..., Any], scope: Mapping[str, Any], filling: Filling | None) -> None:
        self._function = function
        self._scope = scope
        self.annotation: Any = Delivery
        self._filling = filling
        self.filled: dict[str, Callable[[], Any]] = {}

    def read(self) -> tuple[Decoder, Callable[[Any, Any], Any]]:
        body, *others = self._parameters()
        if body.kind not in _BY_POSITION:
            raise _WrongSignature(f"its first parameter, {str(body).split(':', 1)[0]!r}, can't take the body")
        delivery = self._delivery(others)
        annotation = self._each(self._resolve(body), body)
        if annotation is Delivery:
            if delivery is not None:
                raise _WrongSignature("it asks for the delivery twice; the body comes first")
            return _nothing, _call_with_delivery(self._with_filled())
        if annotation is inspect.Parameter.empty:
            raise _WrongSignature(f"its first parameter, {body.name!r}, has no annotation that says what the body is")
        try:
            decode = decoder(annotation)
        except TypeError as error:
            raise _WrongSignature(f"a body can't be decoded to {body.name!r}: {error}") from None
        self.annotation = annotation
        return decode, _call(self._with_filled(), delivery)

    def _with_filled(self) -> Callable[..., Any]:
        """Return the function as one that takes nothing but the body and the delivery."""
        if not self.filled:
            return self._function
        function, filled = self._function, self.filled
        return lambda *by_position, **by_name: function(
            *by_position, **by_name, **{name: give() for name, give in filled.items()}
        )

    def _each(self, annotation: Any, body: inspect.Parameter) -> Any:
        """Return the type of one body."""
        return annotation

    def _is_delivery(self, annotation: Any) -> bool:
        return annotation is Delivery

    def _parameters(self) -> list[inspect.Parameter]:
        function = self._function
        if inspect.isclass(function) or not callable(function):
            raise _WrongSignature(f"it is a {type(function).__name__}, not a function")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise _WrongSignature("it is a generator: it has a `yield`")
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            raise _WrongSignature("it takes no parameters")
        return parameters

    def _delivery(self, others: list[inspect.Parameter]) -> inspect.Parameter | None:
        """Return the parameter that takes the delivery; refuse others that nothing would fill."""
        found: inspect.Parameter | None = None
        for parameter in others:
            if self._wants_delivery(parameter):
                if found is not None:
                    raise _WrongSignature(f"{found.name!r} and {parameter.name!r} both ask for the delivery")
                if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and parameter is not others[0]:
                    raise _WrongSignature(f"{parameter.name!r} can be given by position only, and is not the second")
                found = parameter
            elif self._fills(parameter):
                continue
            elif parameter.default is inspect.Parameter.empty:
                raise _WrongSignature(f"nothing fills its parameter {str(parameter)!r}")
        return found

    def _fills(self, parameter: inspect.Parameter) -> bool:
        if self._filling is None or parameter.kind not in _BY_NAME:
            return False
        if parameter.annotation is inspect.Parameter.empty:
            return False
        try:
            give = self._filling(self._resolve(parameter))
        except TypeError as error:
            raise _WrongSignature(f"its parameter {str(parameter)!r}: {error}") from None
        if give is not None:
            self.filled[parameter.name] = give
        return give is not None

    def _wants_delivery(self, parameter: inspect.Parameter) -> bool:
        if parameter.kind not in (*_BY_POSITION, inspect.Parameter.KEYWORD_ONLY):
            return False
        named = parameter.name == self.named
        annotation = self._resolve(parameter, required=not named)
        if self._is_delivery(annotation) or (named and annotation in (inspect.Parameter.empty, Any)):
            return True
        if named:
            raise _WrongSignature(f"its parameter {str(parameter)!r} is not a {self.wanted}")
        return False

    def _resolve(self, parameter: inspect.Parameter, *, required: bool = True) -> Any:
        """Return the annotation as a type; `parameter.empty` for a `delivery` known to type checkers only."""
        annotation = parameter.annotation
        if not isinstance(annotation, str):
            return annotation
        plain = _plain(self._function)
        names = {**self._scope, **_closure(plain)}
        try:
            # The annotation is source text of the same file; typing.get_type_hints evaluates it in the same way, but
            # fails for one name that is missing from any annotation of the function.
            return eval(annotation, plain.__globals__ if plain else {}, names)  # noqa: S307
        except Exception as error:  # noqa: BLE001 - it is someone's source text: anything may come of it
            if not required and annotation.rstrip("]").endswith("Delivery"):
                return inspect.Parameter.empty
            raise _WrongSignature(
                f"its annotation {annotation!r} of {parameter.name!r} can't be resolved "
                f"({type(error).__name__}: {error}); import it at run time, not under TYPE_CHECKING alone"
            ) from None


class _BatchReader(_Reader):
    """Reads the parameters of a handler that takes lists."""

    named = "deliveries"
    wanted = "list[polybus.Delivery]"

    def _each(self, annotation: Any, body: inspect.Parameter) -> Any:
        if annotation is inspect.Parameter.empty:
            return annotation
        if get_origin(annotation) is not list:
            raise _WrongSignature(f"its first parameter, {str(body)!r}, is not a list[...] of what a batch holds")
        return get_args(annotation)[0]

    def _is_delivery(self, annotation: Any) -> bool:
        return get_origin(annotation) is list and get_args(annotation) == (Delivery,)


def _closure(function: FunctionType | None) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    if function is None:
        return filled
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            filled[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return filled


def _nothing(_: object) -> None:
    return None


def _call_with_delivery(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda body, delivery: function(delivery)


def _call(function: Callable[..., Any], delivery: inspect.Parameter | None) -> Callable[[Any, Any], Any]:
    if delivery is None:
        return lambda body, delivery: function(body)
    if delivery.kind is inspect.Parameter.POSITIONAL_ONLY:
        return function
    name = delivery.name
    return lambda body, delivery: function(body, **{name: delivery})
