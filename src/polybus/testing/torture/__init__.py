"""Torture: what production does to a service, done to polybus on purpose, and judged from outside it.

    python -m polybus.testing.torture sqlite --minutes 1 --seed 7

Publishers and consumers run as processes on one backend. A supervisor kills and stops them, ends them by SIGTERM, kills
and pauses the server, resets, stalls and swallows connections, and steps clocks, all by a seeded plan; the handlers
fail, block, overrun and raise what they like. Each process appends what it did to one ledger, a file that polybus
knows nothing of. At the end the faults stop, the service may finish, and the ledger is judged: what was lost, stuck,
overtaken, handed over stale, handed over after a confirmed ack, dead-lettered without a reason, which process ended by
itself, which drain took too long, whose memory or descriptors grew. Any of these makes the exit code 1.

The four backends of polybus are sites by name. A backend of a third party is one too: `--site package.module:factory`
names a function without arguments that returns a `Site`.
"""

from polybus.testing.torture.run import Options, torture
from polybus.testing.torture.sites import Act, BaseSite, Site
from polybus.testing.torture.verdict import Verdict

__all__ = ["Act", "BaseSite", "Options", "Site", "Verdict", "torture"]
