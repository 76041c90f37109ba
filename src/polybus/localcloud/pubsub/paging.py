"""Pages of a listing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TypeVar

from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.refusal import invalid

T = TypeVar("T")

__all__ = ["page"]


def page(items: Mapping[str, T], size: int, token: str) -> tuple[list[T], str]:
    """Return up to `size` of the items by name (0: the most there can be), and the token of the page after them.

    A token names the last item of its page, so that what is created or deleted in between moves nothing else.
    """
    if size < 0:
        raise invalid(f"The value for page_size is too small. You passed {size} in the request, but the minimum is 0.")
    after = _name(token)
    names = sorted(name for name in items if name > after)
    count = min(size or limits.PAGE, limits.PAGE)
    shown = names[:count]
    following = base64.urlsafe_b64encode(shown[-1].encode()).decode() if len(names) > count else ""
    return [items[name] for name in shown], following


def _name(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise invalid("Invalid page token passed in the request.") from error
