"""A binding that is in a key vault or an App Configuration store, named by its address there.

`keyvault:https://<vault>.vault.azure.net/secrets/<name>`, with `/<version>` or without, and
`appconfig:https://<store>.azconfig.io/kv/<key>`, with `?label=<label>` or without.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from polybus.errors import BindingError

__all__ = ["read"]

# A token goes to nobody else. Whom it is for is the same name without the vault's or the store's ("Authentication,
# requests and responses", Key Vault; "Microsoft Entra authentication", App Configuration).
_PLACES = {
    "keyvault": ("vault.azure.net", "vault.usgovcloudapi.net", "vault.azure.cn"),
    "appconfig": ("azconfig.io", "azconfig.azure.us", "azconfig.azure.cn"),
}
_PATHS = {"keyvault": re.compile(r"/secrets/[^/]+(/[^/]+)?/?"), "appconfig": re.compile(r"/kv/[^/]+/?")}
_SHAPES = {
    "keyvault": "https://<vault>.vault.azure.net/secrets/<name>, with /<version> or without",
    "appconfig": "https://<store>.azconfig.io/kv/<key>, with ?label=<label> or without",
}
_VERSIONS = {"keyvault": "7.4", "appconfig": "1.0"}
_ROLES = {"keyvault": "Key Vault Secrets User on the secret", "appconfig": "App Configuration Data Reader on the store"}
_ELSEWHERE = "application/vnd.microsoft.appconfig.keyvaultref+json"  # the value is the address of a secret

# A service that starts has nothing else to do, and a platform that waits for it should hear why it doesn't.
_TIMEOUT = (5, 10)
_AGAIN = Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)


def read(reference: str) -> str:
    """Return what a secret or a key-value says, with the default credentials of azure-identity.

    Raises BindingError with what Azure says.
    """
    scheme, _, address = reference.partition(":")
    url, audience = _held(reference, scheme, address)
    try:
        with DefaultAzureCredential() as credential:
            token = credential.get_token(f"https://{audience}/.default").token
        found = _asked(reference, scheme, url, token)
        value: str = found["value"]
        if (found.get("content_type") or "").partition(";")[0] != _ELSEWHERE:
            return value
        elsewhere: str = json.loads(value)["uri"]
    except (AzureError, requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise BindingError(f"{reference}: {error}") from error
    return read(f"keyvault:{elsewhere}")


def _held(reference: str, scheme: str, address: str) -> tuple[str, str]:
    """Return an address with the version of the API, and whom a token has to be for; refuse any that isn't Azure's."""
    parts = urlsplit(address)
    domain = next((one for one in _PLACES[scheme] if (parts.hostname or "").endswith(f".{one}")), None)
    given = parse_qs(parts.query)
    labelled = not given or (scheme == "appconfig" and list(given) == ["label"])
    if parts.scheme != "https" or domain is None or not _PATHS[scheme].fullmatch(parts.path) or not labelled:
        raise BindingError(f"{reference}: allowed: {scheme}:{_SHAPES[scheme]}")
    query = f"{parts.query}&" if parts.query else ""
    return f"https://{parts.netloc}{parts.path.rstrip('/')}?{query}api-version={_VERSIONS[scheme]}", domain


class _Bearer(AuthBase):
    """A token in every request: with none of its own, the library would look for a password in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _asked(reference: str, scheme: str, url: str, token: str) -> dict[str, Any]:
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(max_retries=_AGAIN))
        answer = session.get(url, auth=_Bearer(token), timeout=_TIMEOUT, allow_redirects=False)
    if answer.status_code != 200:
        raise BindingError(f"{reference}: {_explained(scheme, answer.status_code, answer.text)}")
    found: dict[str, Any] = answer.json()
    return found


def _explained(scheme: str, status: int, text: str) -> str:
    if status == 404:
        return "there is no such thing; a stack whose `bindings` names the vault or the store makes it"
    if status in (401, 403):
        late = "a right holds up to ten minutes after it was given"
        return f"denied; it takes {_ROLES[scheme]}, and {late}: HTTP {status}: {text}"
    return f"HTTP {status}: {text}"
