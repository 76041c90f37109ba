"""One AMQP connection: headers, SASL, frames, liveness."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import DecodeError
from polybus.localcloud.servicebus.refusal import (
    DECODE_ERROR,
    FRAMING_ERROR,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    Refusal,
)
from polybus.localcloud.servicebus.wire.host import Host
from polybus.localcloud.servicebus.wire.session import Session
from polybus.localcloud.servicebus.wire.transactions import Transactions

__all__ = ["Connection"]

log = logging.getLogger(__name__)

# What the service announces: 64 KiB frames and 4,999 channels (its own open performative, as the client libraries'
# traces show it).
MAX_FRAME = 65536
CHANNEL_MAX = 4999
MIN_FRAME = 512  # AMQP 2.7.1: no peer may ask for less
MECHANISMS = ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")
_u4 = struct.Struct(">I").unpack_from


class Connection(asyncio.Protocol):
    """The server's end of a connection. Whatever a peer sends ends at most this connection."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.sessions: dict[int, Session] = {}
        self.key_name: str | None = None
        self.denied: Refusal | None = None  # why its last token was refused
        self.transactions = Transactions()
        self.max_frame = MIN_FRAME
        self.writable = True
        self._transport: asyncio.Transport | None = None
        self._in = bytearray()
        self._out = bytearray()
        self._reading = False
        self._opened = False
        self._closing = False
        self._handlers: dict[int, Callable[[int, list[Any], bytes], None]] = {
            p.OPEN: self._on_open,
            p.BEGIN: self._on_begin,
            p.END: self._on_end,
            p.CLOSE: self._on_close,
        }
        self._loop = asyncio.get_running_loop()
        # Liveness is the peer's, so it is measured in real time: a test that moves the clock must not end connections.
        self._heard = self._loop.time()
        self._blocked_since: float | None = None
        self._peer_patience: float | None = None
        self._watch: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream socket has
        self._transport = transport
        self.host.connections.add(self)
        self._watch_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closing = True
        self.host.connections.discard(self)
        if self._watch is not None:
            self._watch.cancel()
        sessions, self.sessions = self.sessions, {}
        for session in sessions.values():
            session.close()

    def pause_writing(self) -> None:
        self.writable = False
        self._blocked_since = self._loop.time()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable = True
        self._blocked_since = None
        self._heard = self._loop.time()
        if self._transport is not None and not self._closing:
            self._transport.resume_reading()
            for session in list(self.sessions.values()):
                session.resume()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._in += data
        self._reading = True
        try:
            self._consume()
        except DecodeError as error:
            self.close(Refusal(DECODE_ERROR, str(error)))
        except Refusal as refusal:
            self.close(refusal)
        except Exception:
            log.exception("a connection failed on its input")
            self.close(Refusal(INTERNAL_ERROR, "The server could not handle this input."))
        finally:
            self._reading = False
            self.flush()

    # -- input

    def _consume(self) -> None:
        data, at = self._in, 0
        try:
            while len(data) - at >= 8 and not self._closing:
                if data[at : at + 4] == b"AMQP":
                    self._on_header(bytes(data[at : at + 8]))
                    at += 8
                    continue
                size = _u4(data, at)[0]
                if size < 8 or size > MAX_FRAME or not 8 <= 4 * data[at + 4] <= size:
                    raise Refusal(FRAMING_ERROR, f"A frame of {size} bytes is not allowed.")
                if len(data) - at < size:
                    break
                body = bytes(data[at + 4 * data[at + 4] : at + size])
                kind, channel = data[at + 5], (data[at + 6] << 8) | data[at + 7]
                at += size
                if body:
                    self._on_frame(kind, channel, body)
        finally:
            del data[:at]

    def _on_header(self, header: bytes) -> None:
        if header not in (p.AMQP_HEADER, p.SASL_HEADER) or self._opened:
            self._out += p.SASL_HEADER
            raise Refusal(FRAMING_ERROR, "Only AMQP 1.0 and its SASL are spoken here.")
        self._out += header
        if header == p.SASL_HEADER:
            self._put(0, p.performative(p.SASL_MECHANISMS, [e.symbols(MECHANISMS)]), kind=1)

    def _on_frame(self, kind: int, channel: int, body: bytes) -> None:
        code, fields, end = p.read(body)
        if kind == 1 and code == p.SASL_INIT and not self._opened:
            self._on_sasl(fields)
            return
        if kind != 0 or code == p.SASL_INIT or (not self._opened and code != p.OPEN):
            raise Refusal(FRAMING_ERROR, "This frame is not allowed now.")
        handler = self._handlers.get(code)
        if handler is not None:
            handler(channel, fields, body)
            return
        session = self.sessions.get(channel)
        if session is None:
            raise Refusal(NOT_ALLOWED, f"No session has begun on channel {channel}.")
        session.on_performative(code, fields, body, end)

    def _on_sasl(self, fields: list[Any]) -> None:
        outcome = 0
        if fields[0] == "PLAIN":
            parts = (fields[1] or b"").split(b"\0")
            try:
                self.key_name = self.host.rights.verify_key(parts[-2].decode(), parts[-1].decode())
            except (Refusal, IndexError, UnicodeDecodeError):
                outcome = 1  # AMQP 5.3.3.6: authentication failed
        elif fields[0] not in MECHANISMS:
            outcome = 1
        self._put(0, p.performative(p.SASL_OUTCOME, [e.ubyte(outcome)]), kind=1)
        if outcome:
            self._end()

    def _on_open(self, channel: int, fields: list[Any], body: bytes) -> None:
        if self._opened:
            raise Refusal(NOT_ALLOWED, "The connection is open already.")
        self._opened = True
        if fields[2] is not None:
            self.max_frame = max(MIN_FRAME, min(fields[2], MAX_FRAME))
        else:
            self.max_frame = MAX_FRAME
        if fields[4]:
            self._peer_patience = fields[4] / 1000
        self._watch_again()
        patience = e.uint(int(self.host.idle_timeout * 1000))
        self._put(
            0,
            p.performative(p.OPEN, [e.string(uuid4().hex), e.NULL, e.uint(MAX_FRAME), e.ushort(CHANNEL_MAX), patience]),
        )
        self.host.faults.check("connect", "")

    def _on_begin(self, channel: int, fields: list[Any], body: bytes) -> None:
        if channel in self.sessions or channel > CHANNEL_MAX or fields[0] is not None:
            raise Refusal(NOT_ALLOWED, f"A session can't begin on channel {channel}.")
        self.sessions[channel] = session = Session(self, channel, fields[1], fields[2])
        session.begin()

    def _on_end(self, channel: int, fields: list[Any], body: bytes) -> None:
        session = self.sessions.pop(channel, None)
        if session is None:
            raise Refusal(NOT_ALLOWED, f"No session has begun on channel {channel}.")
        session.close()
        self._put(channel, p.performative(p.END, []))

    def _on_close(self, channel: int, fields: list[Any], body: bytes) -> None:
        self._put(0, p.performative(p.CLOSE, []))
        self._end()

    # -- output

    def put(self, channel: int, body: bytes) -> None:
        """Queue a frame; it is written when the input at hand is worked off, or on the loop's next turn."""
        if not self._closing:
            self._put(channel, body)

    def _put(self, channel: int, body: bytes, kind: int = 0) -> None:
        if not self._out and not self._reading:
            self._loop.call_soon(self.flush)
        self._out += p.frame(channel, body, kind)

    def flush(self) -> None:
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(bytes(self._out))
        self._out.clear()

    # -- ending

    def close(self, refusal: Refusal) -> None:
        """Tell the peer why, then end the connection."""
        if self._closing:
            return
        if self._opened:
            self._put(0, p.performative(p.CLOSE, [p.error(refusal.condition, refusal.description)]))
        self._end()

    def _end(self) -> None:
        self.flush()
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once, as a broken network does."""
        self._closing = True
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    # -- liveness

    def _watch_again(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        patience = self.host.idle_timeout if self._opened else self.host.handshake_timeout
        if self._opened:
            patience = min(patience, self.host.link_idle)
        if self._peer_patience is not None:
            patience = min(patience, self._peer_patience)
        # Half of it: a peer is then told that we live in time, and found dead after at most one and a half.
        self._watch = self._loop.call_later(patience / 2, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        patience = self.host.idle_timeout if self._opened else self.host.handshake_timeout
        since = self._heard if self._blocked_since is None else self._blocked_since
        if now - since >= patience or (self._closing and self._transport is not None):
            self.abort()
            return
        for session in list(self.sessions.values()):
            session.detach_idle(now - self.host.link_idle)
        if self._opened and self._peer_patience is not None:
            self._put_empty()
        self._watch_again()

    def _put_empty(self) -> None:
        if self.writable:
            self._put(0, b"")
            self.flush()
