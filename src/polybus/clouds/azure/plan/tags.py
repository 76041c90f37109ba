"""What Azure takes as tags."""

from __future__ import annotations

import re

from polybus.plan.tags import TagRules

__all__ = ["TAGS"]

# "Use tags to organize your Azure resources": limitations.
TAGS = TagRules(
    "azure",
    50,
    re.compile(r"[^<>%&\\?/]{1,512}"),
    "1 to 512 characters without < > % & \\ ? /",
    re.compile(r".{0,256}", re.DOTALL),
    "up to 256 characters",
)
