"""Delete what dead runs of the suite have left in an account.

    POLYBUS_LIVE_PREFIX=shop python -m tests.conformance.sweep aws [--older HOURS] [--dry-run]

It uses the same account and prefix as the suite, and deletes only what carries the name of a run of that prefix which
began long enough ago.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import live

# Three times what the suite takes on a real clock, so that no run that is under way is swept.
OLDER = 6.0


def sweep(account: live.Account, prefix: str, older: float, *, dry: bool = False) -> list[str]:
    """Delete what runs of `prefix` that began over `older` seconds ago have left; return what couldn't be deleted.

    Prints each name; `dry` does nothing else.
    """
    found = []
    for item in account.find(f"{prefix}-live-"):
        run = live.Run.of(prefix, item.name)
        if run is not None and run.age > older:
            print(f"{item.kind} {item.name}")
            found.append(item)
    print(f"{len(found)} entities in {account.where} begin with {prefix}-live- and are of runs {older / 3600:g} h old")
    return [] if dry else live.remove(account, found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("cloud", choices=live.CLOUDS)
    parser.add_argument("--older", type=float, default=OLDER, metavar="HOURS", help="age of a dead run (%(default)g)")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be deleted")
    options = parser.parse_args(arguments)
    try:
        prefix = live.prefix()
        account = live.account(options.cloud)
    except live.LiveError as error:
        sys.exit(str(error))
    try:
        left = sweep(account, prefix, options.older * 3600, dry=options.dry_run)
    finally:
        account.close()
    if left:
        sys.exit("\n".join(["these couldn't be deleted:", *left]))


if __name__ == "__main__":
    main()
