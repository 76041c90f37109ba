"""The address of an adopted topic or queue that isn't known yet, and what a plan makes of one."""

from __future__ import annotations

import re

from polybus.clouds.aws.plan.place import STANDING
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.plan.names import FIFO_SUFFIX, short_hash
from polybus.topology.model import Queue, Topic

__all__ = ["forms", "standing"]

_ACCOUNT = "000000000000"


def standing(entry: Topic | Queue, settings: AwsSettings | None) -> str:
    """Give an ARN as an entry of the stack's region and account has it."""
    chosen = settings or AwsSettings()
    texts = [text for text in (chosen.kms_key, *chosen.roles.values()) if isinstance(text, str)]
    account = next(
        (found[1] for found in map(re.compile(r"arn:[^:]*:[^:]*:[^:]*:([0-9]{12}):").match, texts) if found), _ACCOUNT
    )
    service = "sns" if isinstance(entry, Topic) else "sqs"
    name = f"{STANDING}{short_hash(entry.name)}{FIFO_SUFFIX if entry.ordered else ''}"
    return f"arn:aws:{service}:{chosen.region or 'us-east-1'}:{account}:{name}"


def forms(address: str) -> tuple[str, ...]:
    """Give the URL, the ARN and the name."""
    partition, service, region, account, name = address.split(":", 5)[1:]
    domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return (f"https://{service}.{region}.{domain}/{account}/{name}", address, name)
