"""A binding that is in a secret of Google Secret Manager: `secretmanager:projects/<project>/secrets/<name>`."""

from __future__ import annotations

import base64
import binascii
import os
import re

import google.auth
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from requests import RequestException

from polybus.errors import BindingError

__all__ = ["ENDPOINT", "read"]

ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
"""The variable by which Google's own command line is led to another endpoint, such as a regional one."""

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_NAME = re.compile(r"(projects/[^/]+(?:/locations/[^/]+)?/secrets/[^/]+)(?:/versions/([^/]+))?")
# A service that starts has nothing else to do, and a platform that waits for it should hear why it doesn't.
_TIMEOUT = (5, 10)


def read(reference: str) -> str:
    """Return what a version of a secret says, the latest where none is named; credentials are the default ones.

    Raises BindingError with what Google says.
    """
    found = _NAME.fullmatch(reference.partition(":")[2])
    if found is None:
        allowed = "secretmanager:projects/<project>/secrets/<name>, with /versions/<version> or without"
        raise BindingError(f"{reference}: allowed: {allowed}")
    host = (os.environ.get(ENDPOINT) or "https://secretmanager.googleapis.com").rstrip("/")
    url = f"{host}/v1/{found[1]}/versions/{found[2] or 'latest'}:access"
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
            answer = session.get(url, timeout=_TIMEOUT)
            if answer.status_code != 200:
                raise BindingError(f"{reference}: {_explained(answer.status_code, answer.text)}")
            data: str = answer.json()["payload"]["data"]
        return base64.b64decode(data, validate=True).decode()
    except (GoogleAuthError, RequestException, KeyError, ValueError, binascii.Error) as error:
        raise BindingError(f"{reference}: {error}") from error


def _explained(status: int, text: str) -> str:
    if status == 404:
        return "there is no such secret or version; a stack with bindings = secretmanager makes it"
    if status == 403:
        return f"denied; it takes roles/secretmanager.secretAccessor on the secret: {text}"
    return f"HTTP {status}: {text}"
