"""A queue's attributes: which there are, their ranges and defaults, and their values ready for use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.errors import AwsError, invalid_value
from polybus.localcloud.aws.policy.document import Policy, PolicyError

__all__ = ["KNOWN", "MAX_MESSAGE", "READ_ONLY", "Settings", "as_given", "check_name", "is_queue_name"]

MAX_MESSAGE = 1_048_576  # 1 MiB, for a message and for a batch (botocore 1.44.5 model, MaximumMessageSize)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")

# Ranges and defaults: botocore 1.44.5 model, documentation of CreateQueue and SetQueueAttributes.
_NUMBERS = {
    "DelaySeconds": (0, 900, 0),
    "MaximumMessageSize": (1024, MAX_MESSAGE, MAX_MESSAGE),
    "MessageRetentionPeriod": (60, 1_209_600, 345_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20, 0),
    "VisibilityTimeout": (0, 43_200, 30),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400, 300),
}
_CHOICES = {
    "SqsManagedSseEnabled": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "FifoQueue": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_FIFO_ONLY = {"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"}
_DOCUMENTS = {"Policy", "RedrivePolicy", "RedriveAllowPolicy"}
KNOWN = set(_NUMBERS) | set(_CHOICES) | _DOCUMENTS | {"KmsMasterKeyId"}
READ_ONLY = (
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
)


def check_name(name: object, fifo: bool) -> str:
    """Return a queue's name, or refuse it."""
    if isinstance(name, str) and (_FIFO_NAME if fifo else _NAME).fullmatch(name):
        return name
    if isinstance(name, str) and (fifo or name.endswith(".fifo")):
        reason = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
        raise invalid_value(name, "QueueName", reason + "must end with .fifo suffix and be 1 to 80 in length.")
    raise AwsError(
        "InvalidParameterValue",
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    )


def is_queue_name(text: str) -> bool:
    """Return whether a queue could have this name."""
    return (_FIFO_NAME if text.endswith(".fifo") else _NAME).fullmatch(text) is not None


def as_given(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return attributes with those that are true or false in lower case: SQS takes any (recorded)."""
    truths = {name for name, choices in _CHOICES.items() if choices == ("true", "false")}
    return {
        name: value.lower() if name in truths and isinstance(value, str) else value
        for name, value in attributes.items()
    }


def _bad(name: str) -> AwsError:
    return AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


class Settings:
    """What was set on a queue; `given` holds the attributes as their owner wrote them, in their wire form."""

    def __init__(self, given: Mapping[str, str], *, fifo: bool) -> None:
        """Check every attribute; raises AwsError for one that is unknown, out of range or not for this type."""
        self.fifo = fifo
        self.given: dict[str, str] = {}
        for name, value in given.items():
            self._check(name, value)
            if value or name not in _DOCUMENTS | {"KmsMasterKeyId"}:  # an empty document takes the attribute away
                self.given[name] = value
        if self.given.get("KmsMasterKeyId") and self.given.get("SqsManagedSseEnabled") == "true":
            reason = "You can use one type of server-side encryption (SSE) at one time."
            raise AwsError("InvalidAttributeName", f"{reason} You can either enable KMS SSE or SQS SSE.")
        numbers = {name: int(self.given.get(name, default)) for name, (_, _, default) in _NUMBERS.items()}
        self.delay = numbers["DelaySeconds"]
        self.max_message = numbers["MaximumMessageSize"]
        self.retention = numbers["MessageRetentionPeriod"]
        self.wait = numbers["ReceiveMessageWaitTimeSeconds"]
        self.visibility = numbers["VisibilityTimeout"]
        self.content_dedup = self.given.get("ContentBasedDeduplication") == "true"
        self.dedup_by_group = self.given.get("DeduplicationScope") == "messageGroup"
        self.policy: Policy | None = None
        if policy := self.given.get("Policy"):
            try:
                self.policy = Policy.parse(policy, principals=True)
            except PolicyError as error:
                raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter Policy. {error}") from None
        self.dead_letters, self.max_receives = self._redrive()
        self.redrive_permission, self.redrive_sources = self._redrive_allow()

    def changed(self, changes: Mapping[str, str]) -> Settings:
        """Return these settings with `changes` applied; raises AwsError where they are not allowed."""
        changes = as_given(changes)
        if "FifoQueue" in changes:
            self._check_type(changes["FifoQueue"])
        given = dict(self.given)
        # Turning one kind of encryption on turns the other off (SQS API reference, SetQueueAttributes); taking the key
        # away turns none on, and what belonged to it goes along (recorded).
        if changes.get("KmsMasterKeyId"):
            given.pop("SqsManagedSseEnabled", None)
        elif changes.get("SqsManagedSseEnabled") == "true":
            given.pop("KmsMasterKeyId", None)
            given.pop("KmsDataKeyReusePeriodSeconds", None)
        elif changes.get("KmsMasterKeyId") == "" and "KmsMasterKeyId" in given:
            given.pop("KmsDataKeyReusePeriodSeconds", None)
            given["SqsManagedSseEnabled"] = "false"
        return Settings({**given, **changes}, fifo=self.fifo)

    def differs(self, wanted: Settings) -> str | None:
        """Return the first attribute of `wanted` that has another value here, None where all agree."""
        mine, theirs = self.effective(), wanted.effective()
        return next((name for name in wanted.given if mine.get(name) != theirs.get(name)), None)

    def effective(self) -> dict[str, str]:
        """Return every attribute that GetQueueAttributes shows, defaults included."""
        values = {name: str(default) for name, (_, _, default) in _NUMBERS.items() if not name.startswith("Kms")}
        if "KmsMasterKeyId" in self.given:
            values |= {"KmsDataKeyReusePeriodSeconds": "300", "SqsManagedSseEnabled": "false"}
        else:
            values["SqsManagedSseEnabled"] = "true"
        if self.fifo:
            values |= {"FifoQueue": "true", "ContentBasedDeduplication": "false"}
            values |= {"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"}
        return values | self.given

    def _check_type(self, fifo: str) -> None:
        """Refuse to say anew what kind of queue it is: of a FIFO queue alone its own may be said (recorded)."""
        if not self.fifo or fifo not in ("true", "false"):
            raise AwsError("InvalidAttributeName", "Unknown Attribute FifoQueue.")
        if fifo == "false":
            reason = "Reason: Modifying queue type is not supported."
            raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter FifoQueue. {reason}")

    def _check(self, name: str, value: Any) -> None:
        if name not in KNOWN:
            raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        if not isinstance(value, str):
            raise _bad(name)
        if name in _FIFO_ONLY and not self.fifo:
            if name in ("DeduplicationScope", "FifoThroughputLimit"):
                found = f"You can specify the {name} only when FifoQueue is set to true."
                raise AwsError("InvalidAttributeName", found)
            raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise _bad(name)
        if name in _NUMBERS:
            low, high, _ = _NUMBERS[name]
            if not (value.isascii() and value.isdigit() and len(value) < 10 and low <= int(value) <= high):
                raise _bad(name)

    def _redrive(self) -> tuple[Arn | None, int | None]:
        text = self.given.get("RedrivePolicy")
        if not text:
            return None, None
        policy = _document(text, "RedrivePolicy")
        # SQS gives it back without the white space that it came with.
        self.given["RedrivePolicy"] = msgspec.json.encode(policy).decode()
        target = Arn.parse(policy.get("deadLetterTargetArn"))
        receives = policy.get("maxReceiveCount")
        if target is None or target.service != "sqs" or policy.keys() - {"deadLetterTargetArn", "maxReceiveCount"}:
            raise invalid_value(
                text, "RedrivePolicy", "Redrive policy must name deadLetterTargetArn, an SQS queue ARN."
            )
        if isinstance(receives, str) and receives.isascii() and receives.isdigit():
            receives = int(receives)  # taken as text too (recorded)
        if type(receives) is not int or not 1 <= receives <= 1000:
            raise invalid_value(text, "RedrivePolicy", "maxReceiveCount must be an integer from 1 to 1000.")
        return target, receives

    def _redrive_allow(self) -> tuple[str, tuple[str, ...]]:
        text = self.given.get("RedriveAllowPolicy")
        if not text:
            return "allowAll", ()
        policy = _document(text, "RedriveAllowPolicy")
        permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns", [])
        if permission not in ("allowAll", "denyAll", "byQueue") or not isinstance(sources, list):
            raise invalid_value(text, "RedriveAllowPolicy", "redrivePermission must be allowAll, denyAll or byQueue.")
        if (permission == "byQueue") != bool(sources) or len(sources) > 10:
            raise invalid_value(text, "RedriveAllowPolicy", "byQueue, and it alone, takes 1 to 10 sourceQueueArns.")
        if any(Arn.parse(source) is None for source in sources):
            raise invalid_value(text, "RedriveAllowPolicy", "sourceQueueArns must be ARNs of queues.")
        return permission, tuple(sources)


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise invalid_value(text, name, f"{name} is not a valid JSON map.")
    return document
