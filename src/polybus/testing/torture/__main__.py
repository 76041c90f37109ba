"""`python -m polybus.testing.torture SITE`: see the package."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polybus.testing.torture as package
from polybus.testing.torture.run import WORKER_FAULTS, Options, torture
from polybus.testing.torture.sites import Site, sites
from polybus.testing.torture.timeline import timeline

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the torture; return 0 where everything held, 1 where something didn't, 2 for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.site is None) == (options.factory is None):
        parser.error(f"name one of {', '.join(sites())}, or --site package.module:factory")
    site = _load(options.factory) if options.site is None else _made(options.site, parser, options.set)
    known = {act.name for act in site.acts()} | set(WORKER_FAULTS)
    faults = None if options.faults is None else frozenset(filter(None, options.faults.split(",")))
    if faults is not None and not faults <= known:
        parser.error(f"no fault {', '.join(sorted(faults - known))} here; there are {', '.join(sorted(known))}")
    chosen = Options(
        minutes=options.minutes,
        seed=options.seed,
        publishers=options.publishers,
        consumers=options.consumers,
        rate=options.rate,
        faults=faults,
        keep=options.keep,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    verdict = asyncio.run(torture(site, chosen))
    if options.timeline is not None:
        options.timeline.write_text(timeline(verdict))
    print(json.dumps(verdict.as_json(), indent=2) if options.json else verdict.table())
    return 0 if verdict.holds else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m polybus.testing.torture",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("site", nargs="?", choices=sorted(sites()), help="a backend of polybus")
    parser.add_argument("--site", dest="factory", metavar="MODULE:FACTORY", help="a site of your own")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=TEXT", help="a setting of the binding, of a cloud's site"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="of faults (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=7, help="the plan of faults and conduct (default: %(default)d)")
    parser.add_argument("--faults", metavar="NAMES", help="comma-separated; all of the site's where none is named")
    parser.add_argument("--publishers", type=int, default=2, help="processes (default: %(default)d)")
    parser.add_argument("--consumers", type=int, default=3, help="processes (default: %(default)d)")
    parser.add_argument("--rate", type=float, default=40.0, help="messages a second in all (default: %(default)g)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep ledger, logs and data there")
    parser.add_argument("--timeline", type=Path, metavar="FILE", help="draw the run there, as SVG")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    return parser


def _made(name: str, parser: argparse.ArgumentParser, given: Sequence[str]) -> Site:
    if not given:
        return sites()[name]()
    settings = dict(each.partition("=")[::2] for each in given)
    try:
        return sites()[name](settings=settings)
    except TypeError:
        parser.error(f"{name} has no settings")


def _load(factory: str) -> Site:
    module, _, name = factory.partition(":")
    site: Site = getattr(importlib.import_module(module), name or "site")()
    return site


if __name__ == "__main__":
    sys.exit(main())
