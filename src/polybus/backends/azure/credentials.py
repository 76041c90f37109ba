"""The machine's identity, asked so that what went wrong can be told.

DefaultAzureCredential answers every failure with one error that says in its text alone what happened. Whether an
identity was refused or could merely not be asked for decides whether it is worth trying again: so what each of its
credentials raised is noted, and the error that counts is raised instead.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

__all__ = ["Identity"]

# What the credentials of one get_token raised.
_RAISED: ContextVar[list[Exception] | None] = ContextVar("polybus_azure_raised", default=None)


class Identity:
    """DefaultAzureCredential, made at the first token and kept."""

    def __init__(self) -> None:
        self._credential: Any = None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token of the first credential that has one.

        Raises CredentialUnavailableError where none of them could try, and what the one raised that did.
        """
        if self._credential is None:
            self._credential = _default()
        raised: list[Exception] = []
        _RAISED.set(raised)
        try:
            token: AccessToken = await self._credential.get_token(*scopes, **options)
        except ClientAuthenticationError as error:
            tried = [one for one in raised if not _unavailable(one)]
            if tried and error not in raised:
                raise tried[-1] from error
            raise
        return token

    async def close(self) -> None:
        """Close the connections to those who give tokens."""
        if self._credential is not None:
            await self._credential.close()


class _Watched:
    """One credential of a chain, whose errors are noted."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            token: AccessToken = await self._credential.get_token(*scopes, **options)
        except Exception as error:
            raised = _RAISED.get()
            if raised is not None:
                raised.append(error)
            raise
        return token

    async def close(self) -> None:
        await self._credential.close()


def _default() -> Any:
    from azure.identity.aio import DefaultAzureCredential

    credential: Any = DefaultAzureCredential()
    chain = getattr(credential, "credentials", None)
    if isinstance(chain, tuple):
        credential.credentials = tuple(_Watched(one) for one in chain)
    return credential


def _unavailable(error: Exception) -> bool:
    from azure.identity import CredentialUnavailableError

    return isinstance(error, CredentialUnavailableError)
