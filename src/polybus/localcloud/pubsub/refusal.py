"""How the server says no: a gRPC status with Google's wording."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

__all__ = ["INVALID_ACK_ID", "Refused", "already_exists", "invalid", "not_found", "unimplemented", "unmet"]

# The metadata value that the client library reads as "this ack id is gone, don't try again".
INVALID_ACK_ID = "PERMANENT_FAILURE_INVALID_ACK_ID"


class Refused(Exception):
    """A request is answered with `code` and `detail`; `ack_failures` maps ack ids to the reason why each failed."""

    def __init__(self, code: grpc.StatusCode, detail: str, ack_failures: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.detail = detail
        self.ack_failures = ack_failures
        super().__init__(detail)


def invalid(detail: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, detail)


def not_found(name: str) -> Refused:
    return Refused(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name.rpartition('/')[2]}).")


def already_exists(name: str) -> Refused:
    detail = f"Resource already exists in the project (resource={name.rpartition('/')[2]})."
    return Refused(grpc.StatusCode.ALREADY_EXISTS, detail)


def unmet(detail: str) -> Refused:
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, detail)


def unimplemented(what: str) -> Refused:
    return Refused(grpc.StatusCode.UNIMPLEMENTED, f"The local server doesn't do {what}.")
