"""What a fork does to gRPC: nothing of it may be used in a child whose parent had a connection open.

Its threads don't come along, and a new connection in the child ends that with SIGSEGV: gRPC supports only children that
don't use it ("Fork support" in its documentation). So it is refused here, before gRPC is touched.
"""

from __future__ import annotations

import os

from polybus.errors import BindingError

__all__ = ["FORKS", "Forks"]


class Forks:
    """The connections of this process, and whether it is a child that must make none."""

    def __init__(self) -> None:
        self._open = 0
        self._spoilt = False

    def opened(self) -> None:
        """Note one more connection."""
        self._open += 1

    def closed(self) -> None:
        """Note that one is closed."""
        self._open -= 1

    def refuse_in_child(self) -> None:
        """Raise BindingError in a process that was forked while its parent had a connection to Pub/Sub."""
        if self._spoilt:
            raise BindingError(
                "this process was forked while its parent was connected to Pub/Sub, and gRPC doesn't survive that: "
                "connect in the children alone, after the fork; or close the parent's bus before it forks; or start "
                "processes by spawn (multiprocessing.get_context('spawn'))"
            )

    def forked(self) -> None:
        """Note that this process is a child."""
        self._spoilt = self._spoilt or self._open > 0
        self._open = 0


FORKS = Forks()
os.register_at_fork(after_in_child=FORKS.forked)
