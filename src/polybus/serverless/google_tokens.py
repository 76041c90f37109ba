"""Who pushes: the OIDC token that Google signs its push requests with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from polybus.errors import ConfigError, MissingExtra
from polybus.serverless.failure import Unverified
from polybus.serverless.fetch import CertificateCache, Unreachable

__all__ = ["GoogleTokens"]

# Seconds by which a token may seem too young: clocks differ (google-auth's own recommendation is up to 60).
SKEW = 10


class GoogleTokens:
    """Verifies that a token is Google's, for one of these audiences, and for one of these service accounts.

    `audience` is what the subscription's push config says, or the endpoint's URL where it says nothing;
    `service_account` the e-mail there. `request` is a google.auth.transport.Request; by default one that keeps
    certificates as long as their answer allows. Raises MissingExtra where google-auth isn't installed.
    """

    def __init__(
        self, audience: str | Collection[str], service_account: str | Collection[str], *, request: Any = None
    ) -> None:
        self._audiences = _many(audience)
        self._accounts = _many(service_account)
        if not self._audiences or not self._accounts:
            raise ConfigError(
                "audience and service_account: at least one each, as in the push config; "
                "without both, anyone's token by Google would do"
            )
        try:
            import google.oauth2.id_token
        except ModuleNotFoundError:
            raise MissingExtra("google-auth", "gcp") from None
        self._verify: Any = google.oauth2.id_token.verify_oauth2_token
        self._request = CertificateCache() if request is None else request

    def __call__(self, token: str) -> None:
        """Return where the token is good; raise Unverified where not, Unreachable without Google's keys. Blocks."""
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            claims: Mapping[str, Any] = self._verify(
                token, self._request, audience=self._audiences, clock_skew_in_seconds=SKEW
            )
        except TransportError as error:
            raise Unreachable(str(error)) from error
        except (ValueError, TypeError, GoogleAuthError) as error:
            raise Unverified(f"the push request's token is not Google's, or not for this service: {error}") from None
        if claims.get("email_verified") is not True or claims.get("email") not in self._accounts:
            raise Unverified(f"the push request's token is for {claims.get('email')!r}, which may not push here")


def _many(given: str | Collection[str]) -> list[str]:
    return [one for one in ([given] if isinstance(given, str) else given) if one]
