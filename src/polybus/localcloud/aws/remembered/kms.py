"""Keys: any that is asked for is there, enabled, and encrypts nothing."""

from __future__ import annotations

from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.remembered.service import Remembered, named
from polybus.localcloud.aws.rows import Rows

__all__ = ["KmsService"]


class KmsService(Remembered):
    """A look-up by id, ARN or alias."""

    name = "kms"

    def __init__(self, account: str, rows: Rows) -> None:
        super().__init__(account, rows)
        self.actions = {"DescribeKey": self._describe}

    def _describe(self, call: Call, params: Params) -> dict[str, Any]:
        asked = named(params, "KeyId")
        name = asked.rpartition("key/")[2] if asked.startswith("arn:") else asked
        metadata = {
            "AWSAccountId": self.account,
            "KeyId": name,
            "Arn": f"arn:aws:kms:{call.region}:{self.account}:key/{name}",
            "CreationDate": 0.0,
            "Enabled": True,
            "Description": "",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": "Enabled",
            "Origin": "AWS_KMS",
            "KeyManager": "AWS" if asked.startswith("alias/aws/") else "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "MultiRegion": False,
        }
        return {"KeyMetadata": metadata}
