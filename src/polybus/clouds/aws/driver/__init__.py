"""SNS and SQS, over boto3.

Topics are SNS topics; a subscription is an SQS queue that its topic delivers to raw; a queue is an SQS queue. Ordered
ones are FIFO. Credentials, region, profile and endpoint come from wherever boto3 finds them; the binding's settings
may name the `region`.
"""

from __future__ import annotations

from polybus.clouds.aws.driver.driver import driver

__all__ = ["driver"]
