"""Google's quotas and limits, as https://cloud.google.com/pubsub/quotas and the API's own reference state them."""

from __future__ import annotations

MINUTE = 60
DAY = 24 * 60 * MINUTE

PUBLISH_MESSAGES = 1_000
PUBLISH_BYTES = 10_000_000
ATTRIBUTES = 100
ATTRIBUTE_KEY_BYTES = 256
ATTRIBUTE_VALUE_BYTES = 1_024
ORDERING_KEY_BYTES = 1_024

PULL_MESSAGES = 1_000
ACK_IDS = 1_000
ACK_REQUEST_BYTES = 512 * 1_024

ACK_DEADLINE = (10, 600)
DEFAULT_ACK_DEADLINE = 10
MODIFY_DEADLINE = (0, 600)

FILTER_BYTES = 256

RETENTION = (10 * MINUTE, 31 * DAY)
DEFAULT_RETENTION = 7 * DAY
EXPIRATION_MINIMUM = DAY
DEFAULT_EXPIRATION = 31 * DAY
SNAPSHOT_LIFE = 7 * DAY
SNAPSHOT_MINIMUM = 60 * MINUTE

DELIVERY_ATTEMPTS = (5, 100)
DEFAULT_DELIVERY_ATTEMPTS = 5
BACKOFF = (0, 600)
DEFAULT_BACKOFF = (10, 600)

LABELS = 64
PAGE = 1_000

# A response is cut at this size, so that clients with gRPC's default receive limit of 4 MB can read every response that
# holds more than one message.
RESPONSE_BYTES = 1_000_000
RESPONSE_MESSAGES = 1_000

# What gRPC accepts at all: twice the largest legal request, so that one over it gets Pub/Sub's own answer.
RECEIVE_BYTES = 2 * PUBLISH_BYTES
