"""Listing in pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from polybus.localcloud.aws.errors import AwsError

T = TypeVar("T")

__all__ = ["page"]


def page(items: Sequence[T], token: str | None, size: int) -> tuple[Sequence[T], str | None]:
    """Return the page of `items` that `token` (None: the first) stands for, and the next page's token."""
    start = 0
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token).decode("ascii"))
        except (binascii.Error, ValueError):
            start = -1
        if start < 0:
            raise AwsError("InvalidParameter", "Invalid parameter: NextToken")
    end = start + size
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[start:end], following
