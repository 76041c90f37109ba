"""Chromium without a window, over its debugging protocol: as much of it as a page's test takes."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

__all__ = ["CHROMIUM", "Page", "opened"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Far more than anything here takes; reached only where something is broken.
BOUND = 60.0


class Page:
    """One page; each method waits for what it asks."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket = socket
        self._session = session
        self._numbers = itertools.count(1)

    async def call(self, method: str, **params: Any) -> Any:
        return await call(self._socket, next(self._numbers), method, params, self._session)

    async def run(self, script: str) -> Any:
        """Return what an expression gives."""
        given = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = await self.call("Runtime.evaluate", **given)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Return what an expression gives once that is true: the page looks again at each frame."""
        return await self.run(
            f"new Promise(done => {{ const look = () => {{ const found = ({script});"
            " found ? done(found) : setTimeout(look, 20); }; look(); })"
        )

    async def picture(self) -> bytes:
        """Return a picture of it, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])


async def call(
    socket: aiohttp.ClientWebSocketResponse,
    number: int,
    method: str,
    params: dict[str, Any],
    session: str | None = None,
) -> Any:
    message: dict[str, Any] = {"id": number, "method": method, "params": params}
    await socket.send_json(message if session is None else {**message, "sessionId": session})
    while True:
        answer = await socket.receive_json()
        if answer.get("id") == number and answer.get("sessionId") == session:
            assert "error" not in answer, answer
            return answer["result"]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Page]:
    """Show an address in a browser of its own."""
    # A short name: the browser's socket is in there, and a socket's path has 107 bytes at most.
    with TemporaryDirectory(prefix="page-") as folder:
        async with (
            _browser(Path(folder)) as address,
            aiohttp.ClientSession() as http,
            http.ws_connect(address, max_msg_size=0) as socket,
        ):
            yield await _shown(socket, url)


async def _shown(socket: aiohttp.ClientWebSocketResponse, url: str) -> Page:
    async with asyncio.timeout(BOUND):
        target = await call(socket, 1, "Target.createTarget", {"url": "about:blank"})
        attached = await call(socket, 2, "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        page = Page(socket, attached["sessionId"])
        await page.call("Page.enable")
        await page.call("Page.navigate", url=url)
        while (await socket.receive_json()).get("method") != "Page.loadEventFired":
            pass
    return page


@asynccontextmanager
async def _browser(folder: Path) -> AsyncIterator[str]:
    """Run it with all that it writes in `folder`; yield where it is debugged."""
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
    more = [
        "--remote-debugging-port=0",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1280,800",
        "about:blank",
    ]
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *options,
        *more,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        async with asyncio.timeout(BOUND):
            address = await _address(process)
        yield address
    finally:
        _end(process)
        await process.communicate()  # until nobody has its output any more: each of its processes has ended


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        _, told, address = line.decode().partition("DevTools listening on ")
        if told:
            return address.strip()
    raise AssertionError("the browser ended before it listened")


def _end(process: asyncio.subprocess.Process) -> None:
    """End the browser and the processes that it has made: they are a group of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
