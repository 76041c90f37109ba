"""How many messages in a row could not be decoded, and when that ends the intake."""

from __future__ import annotations

import logging
from collections.abc import Callable

from polybus.app.executor import Undecodable
from polybus.app.handler import Handler

__all__ = ["Row"]

_log = logging.getLogger("polybus.app")


class Row:
    """Counts them for one handler; `count` is set to 0 where one was decoded.

    `on_stop` is told once why nothing more may be taken.
    """

    __slots__ = ("_handler", "_on_stop", "_stopped", "count")

    def __init__(self, handler: Handler, on_stop: Callable[[str], None]) -> None:
        self.count = 0
        self._handler = handler
        self._on_stop = on_stop
        self._stopped = False

    def stops(self, error: Undecodable, what: str) -> bool:
        """Count one, named by `what` for the log; say whether it has to be given back, and nothing more be handled."""
        if self._stopped:
            return True
        self.count += 1
        most = self._handler.undecodable
        if not error.stops and (most is None or self.count < most):
            return False
        self._stopped = True
        if error.stops:
            reason = f"stopped at a message that has no handler: {error.description}"
        else:
            reason = f"stopped: {self.count} messages in a row could not be decoded: {error.description}"
        _log.error(
            "handler %s %s; nothing more is taken, and what is here is given back, %s among it: deploy what can read "
            "it, and start again; the others are dead letters, to be put back by `polybus dead-letter redrive`",
            self._handler.name,
            reason,
            what,
        )
        self._on_stop(reason)
        return True
