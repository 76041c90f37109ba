"""Importing costs nothing: names are found when they are used, and SDKs when they are needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import polybus.serverless


def test_every_name_is_there() -> None:
    for name in polybus.serverless.__all__:
        assert callable(getattr(polybus.serverless, name)), name
    with pytest.raises(AttributeError, match="no attribute 'lambda_'"):
        _ = polybus.serverless.lambda_


def test_making_functions_loads_no_sdk() -> None:
    code = """
import sys
import polybus.serverless
assert not [name for name in sys.modules if name.startswith("polybus.serverless.")], "not lazy"
from polybus.serverless import aws_lambda, azure_functions, cloud_run
sdks = {"boto3", "botocore", "azure", "google", "grpc", "cryptography", "aiohttp"}
found = sdks & {name.partition(".")[0] for name in sys.modules}
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)
