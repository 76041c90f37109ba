"""SNS and SQS, by boto3 and beside it.

Topics are SNS topics; a subscription is an SQS queue that its topic delivers to raw; a queue is an SQS queue. Ordered
ones are FIFO. Credentials, region, profile and endpoint come from wherever boto3 finds them; the binding's settings
may name the `region`, and as `client` who makes the calls of every message: `lean` (the package of that name), on the
event loop, or `boto3`, in threads.
"""

from __future__ import annotations

from polybus.clouds.aws.driver.driver import driver

__all__ = ["driver"]
