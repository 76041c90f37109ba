"""Who may invoke a function; the functions themselves are other people's, and taken to be there."""

from __future__ import annotations

from typing import Any

import msgspec

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.remembered.service import Remembered, named
from polybus.localcloud.aws.remembered.shelf import Document
from polybus.localcloud.aws.rows import Rows

__all__ = ["LambdaService"]


class LambdaService(Remembered):
    """Parameters are those of the paths (`FunctionName`, `StatementId`, `Qualifier`) and of the bodies."""

    name = "lambda"

    def __init__(self, account: str, rows: Rows) -> None:
        super().__init__(account, rows)
        self._policies = self.shelf("policy")
        self.actions = {
            "AddPermission": self._add,
            "GetPolicy": self._get,
            "RemovePermission": self._remove,
        }

    def _arn(self, call: Call, params: Params) -> str:
        name = named(params, "FunctionName")
        qualifier = params.get("Qualifier")
        arn = name if name.startswith("arn:") else f"arn:aws:lambda:{call.region}:{self.account}:function:{name}"
        return f"{arn}:{qualifier}" if qualifier else arn

    def _statements(self, arn: str) -> list[Document]:
        return list((self._policies.get(arn) or {"statements": []})["statements"])

    def _add(self, call: Call, params: Params) -> dict[str, Any]:
        arn, sid = self._arn(call, params), named(params, "StatementId")
        statements = self._statements(arn)
        if any(one["Sid"] == sid for one in statements):
            raise AwsError("ResourceConflictException", f"The statement id ({sid}) provided already exists.", 409)
        conditions: dict[str, Any] = {}
        if source := params.get("SourceArn"):
            conditions["ArnLike"] = {"AWS:SourceArn": source}
        if account := params.get("SourceAccount"):
            conditions["StringEquals"] = {"AWS:SourceAccount": account}
        principal = named(params, "Principal")
        statement = {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"Service": principal} if "." in principal else {"AWS": principal},
            "Action": named(params, "Action"),
            "Resource": arn,
            **({"Condition": conditions} if conditions else {}),
        }
        self._policies.put(arn, {"statements": [*statements, statement]})
        return {"Statement": msgspec.json.encode(statement).decode()}

    def _get(self, call: Call, params: Params) -> dict[str, Any]:
        statements = self._statements(self._arn(call, params))
        if not statements:
            raise AwsError("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
        return {"Policy": msgspec.json.encode(policy).decode(), "RevisionId": str(len(statements))}

    def _remove(self, call: Call, params: Params) -> dict[str, Any]:
        arn, sid = self._arn(call, params), named(params, "StatementId")
        statements = self._statements(arn)
        left = [one for one in statements if one["Sid"] != sid]
        if len(left) == len(statements):
            raise AwsError("ResourceNotFoundException", f"Statement {sid} is not found in resource policy.", 404)
        if left:
            self._policies.put(arn, {"statements": left})
        else:
            self._policies.drop(arn)
        return {}
