"""The way to an endpoint as boto3 takes it: by which proxy, with which certificates, how patiently."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from botocore.httpsession import ProxyConfiguration, create_urllib3_context, get_cert_path, mask_proxy_url
from botocore.utils import get_environ_proxies

from polybus.clouds.aws.driver.lean.connection import Route
from polybus.clouds.aws.driver.lean.template import CannotHonour

__all__ = ["Trust", "masked", "route_of"]


class Trust:
    """Whom a session trusts: by the file that its `ca_bundle` names, which AWS_CA_BUNDLE sets, or as botocore does."""

    def __init__(self, bundle: str | None) -> None:
        self._bundle = bundle
        self._made: dict[Any, ssl.SSLContext] = {}

    def context(self, client_cert: Any) -> ssl.SSLContext:
        """Return the context for a client's certificate, a path or a pair of them; blocks, and raises CannotHonour."""
        known = self._made.get(client_cert)
        if known is not None:
            return known
        context: ssl.SSLContext = create_urllib3_context()
        try:
            context.load_verify_locations(cafile=self._bundle or get_cert_path(True))
            if client_cert is not None:
                pair = (client_cert,) if isinstance(client_cert, str) else client_cert
                context.load_cert_chain(*pair)
        except OSError as error:
            raise CannotHonour(f"its certificates can't be read ({error})") from error
        context.set_alpn_protocols(["http/1.1"])
        context.check_hostname = True  # urllib3 does that by itself
        context.hostname_checks_common_name = False
        self._made[client_cert] = context
        return context


def route_of(client: Any, url: str, trust: Trust) -> tuple[Route, str | None]:
    """Return the way that a client's requests take to a URL, and its proxy's; raise CannotHonour. Blocks."""
    config = client.meta.config
    parts = urlsplit(url)
    proxies = config.proxies if config.proxies is not None else get_environ_proxies(url)
    if config.proxies_config:
        raise CannotHonour("it has settings for proxies (proxies_config)")
    chosen = ProxyConfiguration(proxies)
    proxy_url = chosen.proxy_url_for(url)
    proxy = None
    if proxy_url:
        proxy_parts = urlsplit(proxy_url)
        if proxy_parts.scheme != "http" or not proxy_parts.hostname:
            raise CannotHonour(f"the proxy is reached by {proxy_parts.scheme}")
        authorization = chosen.proxy_headers_for(proxy_url).get("Proxy-Authorization", "")
        proxy = (proxy_parts.hostname, proxy_parts.port or 80, authorization)
    secure = parts.scheme == "https"
    return Route(
        parts.hostname or "",
        parts.port or (443 if secure else 80),
        trust.context(config.client_cert) if secure else None,
        proxy,
        float(config.connect_timeout),
        bool(config.tcp_keepalive),
    ), proxy_url


def masked(proxy_url: str | None) -> str | None:
    """Return the URL of a proxy without credentials."""
    return None if proxy_url is None else str(mask_proxy_url(proxy_url))
