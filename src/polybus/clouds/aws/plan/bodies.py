"""The S3 bucket that large bodies of a bus are in, and what each service may do there.

One bucket is one bus's in one stack. It is private, encrypted, refuses what comes without TLS, and its lifecycle
deletes objects by age. Sources: "General purpose bucket naming rules" and "Reducing the cost of SSE-KMS with Amazon S3
Bucket Keys", Amazon S3 User Guide; "Actions, resources, and condition keys for Amazon S3", Service Authorization
Reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from polybus.clouds.aws.plan import place as aws_place
from polybus.clouds.aws.plan.delivery_logs import ACCOUNT
from polybus.plan import bodies
from polybus.plan.findings import Report
from polybus.plan.later import Text
from polybus.plan.names import host_name
from polybus.plan.rules import name as hold_name
from polybus.plan.values import Join, Json, Ref, Resource, joined
from polybus.topology.limits import NameRule, Range
from polybus.topology.model import Service, Topology

__all__ = ["BUCKET", "NAME", "URL", "arn", "name", "resources", "rule", "statements"]

BUCKET: Final = Ref("bus.bodies-bucket", "bucket")
"""The bucket's name once it is there. No entry has a dot in its name, so no resource of one is called so."""

URL: Final = Join(("s3://", BUCKET))

NAME: Final = NameRule(
    Range(3, 63, "k"),
    r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9-]*[a-z0-9]",
    "3 to 63 of a-z 0-9 -, not beginning with xn--, sthree- or amzn-s3-demo-",
    "k",
)

# A bucket's name is one of the world's, so it has the account and the region in it, of 12 characters and up to 15 of
# the 63: what is left for bus and stack is as long everywhere.
_LONGEST = 63 - len("-123456789012") - len("-us-isof-south-1")

# What reaches bodies. The settings stay within reach of whoever deploys, as those of queues do.
_ACTIONS = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
_PUT = ("s3:AbortMultipartUpload", "s3:PutObject")
_GET = ("s3:GetObject",)


def arn() -> Ref:
    """Give the bucket's ARN."""
    return Ref(BUCKET.resource, "arn")


def rule(report: Report, topology: Topology, stack: str) -> None:
    """Refuse a bus whose bucket S3 would refuse by its name."""
    if topology.large_bodies is not None:
        physical = name(topology, stack, account="123456789012", region="eu-west-1")
        hold_name(report, "$.bus", str(physical), NAME)


def name(topology: Topology, stack: str, *, account: str | Ref, region: str | Ref) -> str | Join:
    """Name the bucket."""
    return joined(host_name(topology.name, stack, bodies.KIND, longest=_LONGEST), "-", account, "-", region)


def statements(topology: Topology, service: Service, bucket: str | Ref) -> Iterator[dict[str, Any]]:
    """Allow a service to store bodies, to fetch them, or both; nobody may list or delete them."""
    if topology.large_bodies is None:
        return
    inside = joined(bucket, f"/{bodies.prefix(topology)}*")
    for sid, actions, may in (
        ("StoreBodies", _PUT, bodies.puts(service)),
        ("FetchBodies", _GET, bodies.gets(topology, service)),
    ):
        if may:
            yield {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": [inside]}


def resources(
    topology: Topology,
    stack: str,
    *,
    region: str | Ref,
    kms_key: Text | None,
    endpoints: Sequence[Text],
    tags: Mapping[str, str],
    insecure: Mapping[str, Any],
) -> Iterator[Resource]:
    """Plan the bucket; `insecure` is the statement that refuses what comes without TLS."""
    if topology.large_bodies is None:
        return
    bucket = {"bucket": name(topology, stack, account=ACCOUNT, region=region), "tags": dict(tags)}
    yield _resource("bucket:Bucket", "bucket", bucket, bodies.KIND, keeps_messages=True)
    private = dict.fromkeys(
        ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"), True
    )
    access = _resource("bucketPublicAccessBlock:BucketPublicAccessBlock", "private", {"bucket": BUCKET, **private})
    yield access
    yield _resource(
        "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "encryption",
        {"bucket": BUCKET, "rules": [_encryption(kms_key)]},
        "encryption",
    )
    yield _resource(
        "bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "expiry",
        {"bucket": BUCKET, "rules": [_expiry(topology)]},
        bodies.EXPIRY,
    )
    outside = aws_place.elsewhere(_ACTIONS, joined(arn(), "/*"), endpoints)
    document = {"Version": "2012-10-17", "Statement": [insecure, *outside]}
    # Of two settings of a bucket that are made at once S3 may refuse the one ("OperationAborted").
    yield _resource(
        "bucketPolicy:BucketPolicy", "access", {"bucket": BUCKET, "policy": Json(document)}, after=(access.name,)
    )


def _encryption(kms_key: Text | None) -> dict[str, Any]:
    if kms_key is None:
        return {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
    by_key = {"sse_algorithm": "aws:kms", "kms_master_key_id": kms_key}
    # One call of KMS for many objects, in place of one for each.
    return {"apply_server_side_encryption_by_default": by_key, "bucket_key_enabled": True}


def _expiry(topology: Topology) -> dict[str, Any]:
    return {
        "id": bodies.KIND,
        "status": "Enabled",
        "filter": {"prefix": bodies.prefix(topology)},
        "expiration": {"days": bodies.days(topology)},
        # An upload that was never finished is no object, and has no age that the other would go by.
        "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
    }


def _resource(
    type_: str,
    name: str,
    properties: Mapping[str, Any],
    kind: str = "access",
    *,
    after: tuple[str, ...] = (),
    keeps_messages: bool = False,
) -> Resource:
    return Resource(
        f"aws:s3/{type_}", f"bus.bodies-{name}", properties, kind, bodies.ENTRY, after, keeps_messages=keeps_messages
    )
