"""`benchmarks` and `tests` are run from the repository's root, by `python -m`; pytest doesn't put it on the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
