"""A client of an ASGI application, without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


async def post(application: Any, body: bytes, headers: Mapping[str, str], method: str = "POST") -> int:
    """Return the status that the application answers."""
    return await post_parts(application, [body], headers, method)


async def post_parts(application: Any, parts: Sequence[bytes], headers: Mapping[str, str], method: str = "POST") -> int:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": method,
        "path": "/",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    left = list(parts)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    status: int = sent[0]["status"]
    return status
