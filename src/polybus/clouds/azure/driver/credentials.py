"""The machine's identity, asked so that what went wrong can be told.

DefaultAzureCredential answers every failure with one error that says in its text alone what happened. Whether an
identity was refused or could merely not be asked for decides whether it is worth trying again: so what each of its
credentials raised is noted, and the error that counts is raised instead.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from polybus.clouds.azure.driver.faults import fault

__all__ = ["Identity"]

# What the credentials of one get_token raised.
_RAISED: ContextVar[list[Exception] | None] = ContextVar("polybus_azure_raised", default=None)


class Identity:
    """DefaultAzureCredential, made at the first token and kept until its identity is refused.

    Then the next token is asked of a new one, which finds what has replaced it: a certificate's file is read once.
    """

    def __init__(self) -> None:
        self._credential: Any = None
        # How many tokens are being asked of each: one that was given up is closed after the last.
        self._asking: Counter[Any] = Counter()

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token of the first credential that has one.

        Raises CredentialUnavailableError where none of them could try, and what the one raised that did.
        """
        if self._credential is None:
            self._credential = _default()
        credential = self._credential
        self._asking[credential] += 1
        try:
            return await _token(credential, scopes, options)
        except ClientAuthenticationError as error:
            if not fault(error).retryable and self._credential is credential:
                self._credential = None
            raise
        finally:
            self._asking[credential] -= 1
            if not self._asking[credential]:
                del self._asking[credential]
                if credential is not self._credential:
                    await credential.close()

    async def close(self) -> None:
        """Close the connections to those who give tokens."""
        for credential in {self._credential, *self._asking} - {None}:
            await credential.close()


async def _token(credential: Any, scopes: tuple[str, ...], options: dict[str, Any]) -> AccessToken:
    raised: list[Exception] = []
    _RAISED.set(raised)
    try:
        token: AccessToken = await credential.get_token(*scopes, **options)
    except ClientAuthenticationError as error:
        tried = [one for one in raised if not _unavailable(one)]
        if tried and error not in raised:
            raise tried[-1] from error
        raise
    return token


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
