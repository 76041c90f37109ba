"""Run mutants: `python -m polybus.testing.mutants [WORD ...]`; exit code 1 where one survives that isn't known to."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence

from polybus.testing.mutants import MUTANTS, SURVIVORS, Gone, catch


async def run(words: Sequence[str]) -> int:
    """Run those whose clause or text has one of the words, all without any; return how many surprise."""
    chosen = [
        each
        for each in MUTANTS
        if not words or any(word in (each.clause, each.of) or word in str(each) for word in words)
    ]
    surprises = 0
    for mutant in chosen:
        began = time.monotonic()
        try:
            caught = await catch(mutant, 1.0)
        except Gone as gone:
            surprises += 1
            print(f"!   -   s  {mutant}: {gone}", flush=True)
            continue
        known = SURVIVORS.get(str(mutant))
        surprise = (caught is None) is (known is None)
        surprises += surprise
        said = f"caught by {caught.splitlines()[0]}" if caught else f"SURVIVES: {known or 'and nobody knows why'}"
        print(f"{'!' if surprise else ' '} {time.monotonic() - began:5.1f} s  {mutant}: {said[:200]}", flush=True)
    print(f"{len(chosen)} mutants, {surprises} surprises")
    return surprises


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(min(asyncio.run(run(sys.argv[1:])), 1))
