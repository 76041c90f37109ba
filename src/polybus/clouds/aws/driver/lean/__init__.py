"""The calls that a bus makes all the time, without boto3 around each: asynchronous, and a fraction of its CPU.

`sigv4` signs, `http1` reads answers, `connection` and `pool` carry them, `codec` turns arguments into bodies and
answers into values, `template` asks botocore once what it would send, `route` by which way, `raised` makes its
exceptions, and `lean` puts them together.
"""

from __future__ import annotations

from polybus.clouds.aws.driver.lean.lean import Lean, Left, Line, Service
from polybus.clouds.aws.driver.lean.route import Trust

__all__ = ["Lean", "Left", "Line", "Service", "Trust"]
