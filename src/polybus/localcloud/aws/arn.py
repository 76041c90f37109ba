"""Names of resources: ARNs and queue URLs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Arn", "queue_name_from_url"]


@dataclass(frozen=True, slots=True)
class Arn:
    """`arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`; a subscription's resource is `TOPIC:ID`."""

    service: str
    region: str
    account: str
    resource: str

    def __str__(self) -> str:
        return f"arn:aws:{self.service}:{self.region}:{self.account}:{self.resource}"

    @classmethod
    def parse(cls, text: object) -> Arn | None:
        """Return the parts, or None where `text` is no ARN."""
        parts = text.split(":", 5) if isinstance(text, str) else []
        if len(parts) != 6 or parts[0] != "arn" or not all((parts[1], parts[2], parts[5])):
            return None
        return cls(*parts[2:])


def queue_name_from_url(url: object) -> str | None:
    """Return the queue's name, the last part of `http://HOST/ACCOUNT/NAME`, or None where `url` is no queue URL."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url).path.strip("/").split("/")
    except ValueError:
        return None
    return parts[-1] if len(parts) >= 2 and parts[-1] else None
