"""A look into a queue that takes nothing out of it, at the path and in the forms of LocalStack's.

Tests that ask LocalStack for `/_aws/sqs/messages` ask here unchanged. It is answered only where the control face is on.
"""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

from polybus.localcloud.aws.errors import AwsError, missing_parameter
from polybus.localcloud.aws.sqs.message import DELAYED, IN_FLIGHT, READY, Message
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.receive import Poll, shown
from polybus.localcloud.aws.sqs.registry import Queues
from polybus.localcloud.aws.wire.json import content_type

__all__ = ["Look", "looks", "states"]

PATH = "/_aws/sqs/messages"
HANDLE = "SQS/BACKDOOR/ACCESS"  # what LocalStack writes: with it nothing can be deleted
_NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
_YES = ("true", "1", "yes")


def looks(path: str) -> bool:
    """Say whether a path is that of a look."""
    return path == PATH or path.startswith(f"{PATH}/")


def states(queue: Queue) -> list[Message]:
    """Return what a queue has, oldest first, each message in the state that it is in by now."""
    queue.advance(queue.timeline.now())
    return list(queue.messages.values())


class Look:
    """Answers looks at the queues of one server; `region` is where queues are that say none."""

    def __init__(self, queues: Queues, region: str) -> None:
        self._queues = queues
        self._region = region

    async def answer(self, request: web.BaseRequest, target: str) -> web.Response:
        """Answer a look: as JSON where a client of SQS's JSON protocol or its Accept header asks for that, else XML."""
        try:
            asked = await self._asked(request, target)
            queue = self._queue(request.path, asked)
        except AwsError as error:
            body = {"__type": error.code, "message": error.message}
            return web.json_response(body, status=error.status)
        chosen = {READY}
        for name, state in (("ShowInvisible", IN_FLIGHT), ("ShowDelayed", DELAYED)):
            if str(asked.get(name, "")).lower() in _YES:
                chosen.add(state)
        poll = Poll(0, 0, 0, frozenset(_ALL), ("All",), None)
        found = [
            shown(message, poll) | {"ReceiptHandle": HANDLE} for message in states(queue) if message.state in chosen
        ]
        if target:
            return web.json_response({"Messages": found}, content_type=content_type("sqs"))
        if "json" in request.headers.get("Accept", ""):
            messages = [_named(message) for message in found]
            return web.json_response(
                {"ReceiveMessageResponse": {"ReceiveMessageResult": {"Message": messages} if messages else None}}
            )
        return web.Response(text=_xml(found), content_type="text/xml")

    async def _asked(self, request: web.BaseRequest, target: str) -> dict[str, Any]:
        asked: dict[str, Any] = dict(request.query)
        if request.method != "POST":
            return asked
        body = await request.read()
        if not target:
            return asked | dict(await request.post())
        try:
            found = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise AwsError("SerializationException", "The body is no JSON object.")
        return asked | found

    def _queue(self, path: str, asked: dict[str, Any]) -> Queue:
        parts = path.removeprefix(PATH).strip("/").split("/")
        if len(parts) == 3:
            return self._queues.get(parts[0], parts[2])
        url = asked.get("QueueUrl")
        if not url:
            raise missing_parameter("QueueUrl")
        return self._queues.get(_region_of(str(url)) or self._region, url)


_ALL = (
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
)


def _region_of(url: str) -> str | None:
    """Return the region that is in `http://sqs.REGION.host/...`; None where none is."""
    host = url.partition("//")[2].partition("/")[0].split(".")
    return host[1] if len(host) > 2 and host[0] == "sqs" else None


def _named(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as the XML of SQS has it: attributes in a list, by name."""
    found = {key: value for key, value in message.items() if key not in ("Attributes", "MessageAttributes")}
    found["Attribute"] = [{"Name": name, "Value": value} for name, value in message.get("Attributes", {}).items()]
    given = message.get("MessageAttributes", {})
    if given:
        found["MessageAttribute"] = [{"Name": name, "Value": value} for name, value in given.items()]
    return found


def _xml(found: list[dict[str, Any]]) -> str:
    messages = "".join(_element("Message", _named(message)) for message in found)
    result = f"<ReceiveMessageResult>{messages}</ReceiveMessageResult>"
    answer = f'<ReceiveMessageResponse xmlns="{_NAMESPACE}">{result}</ReceiveMessageResponse>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{answer}'


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    inner = "".join(_element(*item) for item in value.items()) if isinstance(value, dict) else escape(str(value))
    return f"<{name}>{inner}</{name}>"
