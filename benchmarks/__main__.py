"""`python -m benchmarks [module...]`: measure, show, and keep the results in results.json and README.md."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import results
from .harness import Comparison, Report

HERE = Path(__file__).parent


def modules() -> list[str]:
    """Return the names of the benchmarks: every module of this package with a `run(report)`."""
    return sorted(path.stem for path in HERE.glob("*.py") if "\ndef run(report" in path.read_text())


def main(arguments: Sequence[str] | None = None) -> int:
    known = modules()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="module", help=f"one or several of {', '.join(known)}; or all")
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, and nothing is kept")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.modules) - set(known))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    found: dict[str, dict[str, Any]] = {}
    for name in options.modules or known:
        found[name] = _run(name, options)
        if not options.quick:
            results.save({name: found[name]})
    if options.json:
        print(json.dumps(found, indent=1))
    missed = [
        f"{comparison['title']}: {verdict['aim']}"
        for result in found.values()
        for comparison in result["comparisons"]
        for verdict in comparison["verdicts"]
        if not verdict["reached"]
    ]
    for aim in missed:
        print(f"not reached: {aim}", file=sys.stderr)
    return 0


def _run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    run = importlib.import_module(f"benchmarks.{name}").run
    where = results.conditions(f"python -m benchmarks {name}")
    report = Report(
        scale=0.1 if options.quick else 1.0,
        show=(lambda comparison: None) if options.json else _show,
        progress=_progress if sys.stderr.isatty() else lambda text: None,
    )
    try:
        run(report)
    finally:
        report.close()
    return {"conditions": where, "comparisons": [comparison.plain() for comparison in report.comparisons]}


def _show(comparison: Comparison) -> None:
    print("\n".join(results.markdown(comparison)), end="\n\n", flush=True)


def _progress(text: str) -> None:
    print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
