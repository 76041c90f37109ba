"""What Google takes as tags."""

from __future__ import annotations

import re

from polybus.plan.tags import TagRules

__all__ = ["TAGS"]

# "Requirements for labels", Resource Manager; as a label stands after it was made fit.
TAGS = TagRules(
    "gcp",
    64,
    re.compile(r"[a-z][a-z0-9_-]{0,62}"),
    "a name that begins with a letter from a to z",
    re.compile(r"[a-z0-9_-]{0,63}"),
    "up to 63 characters",
)
