"""Results as text, as JSON, and as the tables of benchmarks/README.md."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .harness import Comparison

__all__ = ["conditions", "markdown", "save"]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PAGE = HERE / "README.md"
BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


def conditions(command: str) -> dict[str, str]:
    """Return where and when this is measured, and of what."""
    return {
        "command": command,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def save(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the results of modules into results.json, where others' stay, and the tables of all into the page."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept.update(results)
    RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
    tables = "\n".join(_section(module, result) for module, result in sorted(kept.items()))
    PAGE.write_text(BLOCK.sub(lambda block: block[1] + tables + block[2], PAGE.read_text()))


def _section(module: str, result: Mapping[str, Any]) -> str:
    where = result["conditions"]
    lines = [
        f"### {module}",
        "",
        f"`{where['command']}` at {where['commit']}, {where['date']}: {where['python']}, {where['machine']}; load "
        f"average {where['load']} before it.",
        "",
    ]
    for comparison in result["comparisons"]:
        lines += [*markdown(comparison), ""]
    return "\n".join(lines)


def markdown(comparison: Mapping[str, Any] | Comparison) -> Iterator[str]:
    """Yield the lines of one comparison: heading, table, aims, note."""
    plain = comparison.plain() if isinstance(comparison, Comparison) else comparison
    yield f"**{plain['title']}** (median of {plain['rounds']} rounds)"
    yield ""
    yield from _table(*(_runs(plain["rows"]) if plain["unit"] == "run" else _messages(plain["rows"])))
    for verdict in plain["verdicts"]:
        yield ""
        yield f"Aim: {verdict['aim']}; measured {_number(verdict['value'])}, {_word(verdict['reached'])}."
    if plain["note"]:
        yield ""
        yield plain["note"]


def _messages(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["", "messages/s", "spread", "client CPU, us a message", "rate ratio", "CPU ratio"]
    return head, [
        [
            row["name"],
            f"{row['rate']:,.0f}",
            f"{row['spread']:.0%}",
            f"{row['cpu_us']:.1f}",
            f"{row['rate_ratio']:.2f}",
            f"{row['cpu_ratio']:.2f}",
        ]
        for row in rows
    ]


def _runs(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["", "best, ms", "median, ms", "CPU, ms"]
    return head, [
        [f"`{row['name']}`", f"{row['best_ms']:.0f}", f"{1e3 / row['rate']:.0f}", f"{row['cpu_us'] / 1e3:.0f}"]
        for row in rows
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return f"| {first[0]:<{first[1]}} | " + " | ".join(f"{cell:>{width}}" for cell, width in others) + " |"

    yield line(head)
    yield "|" + "|".join([" --- "] + [" ---: "] * (len(head) - 1)) + "|"
    yield from (line(row) for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _word(reached: bool) -> str:
    return "reached" if reached else "NOT reached"


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    return f"{commit} with changes" if _git("status", "--porcelain", "--", "src") else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = re.findall(r"model name\s*:\s*(.+)", information.read_text())
        if names:
            return str(names[0])
    return platform.processor() or platform.machine()
