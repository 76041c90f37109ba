"""Which policies of a customer-managed key let SNS deliver what topics have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polybus.clouds.aws.plan.key import kept_out

ORDERS, NEWS = "arn:aws:sns:eu-west-1:12:shop-orders", "arn:aws:sns:eu-west-1:12:shop-news"
ALLOW = {
    "Effect": "Allow",
    "Principal": {"Service": "sns.amazonaws.com"},
    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    "Resource": "*",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"Action": "kms:*"}, []),
        ({"Action": ["kms:Decrypt", "kms:GenerateDataKey*"]}, []),
        ({"Action": "kms:Decrypt"}, [ORDERS, NEWS]),
        ({"Principal": {"Service": ["s3.amazonaws.com", "sns.amazonaws.com"]}}, []),
        ({"Principal": {"Service": "cloudwatch.amazonaws.com"}}, [ORDERS, NEWS]),
        ({"Effect": "Deny"}, [ORDERS, NEWS]),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "12"}}}, []),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": ["34", "56"]}}}, [ORDERS, NEWS]),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": [ORDERS]}}}, [NEWS]),
        ({"Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:sns:*:12:shop-*"}}}, []),
        ({"Condition": {"StringEquals": {"kms:EncryptionContext:team": "shop"}}}, []),
    ],
)
def test_what_a_statement_lets_in(change: dict[str, Any], expected: list[str]) -> None:
    policy = {"Statement": [{**ALLOW, **change}]}
    assert kept_out(json.dumps(policy), "sns.amazonaws.com", [ORDERS, NEWS]) == expected


def test_statements_add_up() -> None:
    halves = [{**ALLOW, "Action": "kms:Decrypt"}, {**ALLOW, "Action": "kms:GenerateDataKey"}]
    assert kept_out(json.dumps({"Statement": halves}), "sns.amazonaws.com", [NEWS]) == []
    assert kept_out(json.dumps({"Statement": halves[0]}), "sns.amazonaws.com", [NEWS]) == [NEWS]
