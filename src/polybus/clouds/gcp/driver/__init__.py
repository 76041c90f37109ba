"""Google Pub/Sub, over google-cloud-pubsub's asynchronous generated clients.

A queue is a topic with its one subscription; dead letters are a topic of their own, with a subscription. Credentials
come from wherever google-auth finds them; the server is Google's unless PUBSUB_EMULATOR_HOST, or the binding's setting
`endpoint`, names another as HOST:PORT.
"""

from __future__ import annotations

from polybus.clouds.gcp.driver import forks  # noqa: F401 - before gRPC is loaded: it reads its settings then
from polybus.clouds.gcp.driver.driver import driver

__all__ = ["driver"]
