"""What the server answers when it refuses: AWS's own codes, on either service."""

from __future__ import annotations

__all__ = ["SQS_PREFIX", "AwsError", "invalid_value", "missing_parameter", "no_queue", "sns_invalid"]

# Some SQS codes have this prefix in the Query protocol, and in the header by which JSON clients learn the Query code.
SQS_PREFIX = "AWS.SimpleQueueService."


class AwsError(Exception):
    """A refusal; `code` is the one that clients of the Query protocol see, `status` the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code = code
        self.message = message
        self.status = status
        super().__init__(f"{code}: {message}")

    @property
    def sender(self) -> bool:
        """Whether the fault is the caller's."""
        return self.status < 500

    def as_entry(self, entry_id: str) -> dict[str, object]:
        """Return the refusal of one entry of a batch."""
        return {"Id": entry_id, "Code": self.code, "Message": self.message, "SenderFault": self.sender}


def invalid_value(value: object, parameter: str, reason: str) -> AwsError:
    return AwsError("InvalidParameterValue", f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> AwsError:
    return AwsError("MissingParameter", f"The request must contain the parameter {name}.")


def no_queue() -> AwsError:
    return AwsError(SQS_PREFIX + "NonExistentQueue", "The specified queue does not exist.")


def sns_invalid(detail: str) -> AwsError:
    return AwsError("InvalidParameter", f"Invalid parameter: {detail}")
