"""What AWS takes as tags."""

from __future__ import annotations

import re

from polybus.plan.tags import TagRules

__all__ = ["TAGS"]

# "Tag naming limits and requirements", Tagging AWS Resources User Guide; the set that every service takes.
TAGS = TagRules(
    "aws",
    50,
    re.compile(r"(?!aws:)[\w .:/=+@-]{1,128}", re.IGNORECASE),
    "1 to 128 letters, digits, spaces and _ . : / = + - @, not beginning with aws:",
    re.compile(r"[\w .:/=+@-]{0,256}"),
    "up to 256 letters, digits, spaces and _ . : / = + - @",
)
