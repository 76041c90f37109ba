"""Roles and policies."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

import msgspec

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.policy.document import Policy, PolicyError
from polybus.localcloud.aws.remembered.service import Remembered, named, tag_list, tags_of
from polybus.localcloud.aws.remembered.shelf import Document
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.timeline import Timeline
from polybus.localcloud.aws.wire.xml import time

__all__ = ["IamService"]

_VERSIONS = 5  # of a managed policy (IAM quotas)


def _missing(what: str, name: str) -> AwsError:
    return AwsError("NoSuchEntity", f"The {what} with name {name} cannot be found.", 404)


class IamService(Remembered):
    """Global: the same in every region."""

    name = "iam"

    def __init__(self, account: str, rows: Rows, timeline: Timeline) -> None:
        super().__init__(account, rows)
        self._timeline = timeline
        self._roles, self._policies = self.shelf("role"), self.shelf("policy")
        self.actions = {
            "AttachRolePolicy": self._attach,
            "CreatePolicy": self._create_policy,
            "CreatePolicyVersion": self._create_version,
            "CreateRole": self._create_role,
            "DeletePolicy": self._delete_policy,
            "DeletePolicyVersion": self._delete_version,
            "DeleteRole": self._delete_role,
            "DeleteRolePolicy": self._delete_inline,
            "DetachRolePolicy": self._detach,
            "GetPolicy": lambda call, params: {"Policy": self._shown_policy(self._policy(params))},
            "GetPolicyVersion": self._get_version,
            "GetRole": lambda call, params: {"Role": self._shown_role(self._role(params))},
            "GetRolePolicy": self._get_inline,
            "ListAttachedRolePolicies": self._list_attached,
            "ListInstanceProfilesForRole": lambda call, params: {"InstanceProfiles": [], "IsTruncated": False},
            "ListPolicyTags": lambda call, params: {"Tags": tag_list(self._policy(params)), "IsTruncated": False},
            "ListPolicyVersions": self._list_versions,
            "ListRolePolicies": self._list_inline,
            "ListRoleTags": lambda call, params: {"Tags": tag_list(self._role(params)), "IsTruncated": False},
            "PutRolePolicy": self._put_inline,
            "TagPolicy": lambda call, params: self._tag(self._policy(params), params),
            "TagRole": lambda call, params: self._tag(self._role(params), params),
            "UntagPolicy": lambda call, params: self._untag(self._policy(params), params),
            "UntagRole": lambda call, params: self._untag(self._role(params), params),
            "UpdateAssumeRolePolicy": self._update_trust,
            "UpdateRole": self._update_role,
        }

    # Roles ------------------------------------------------------------------------------------------------------------

    def _role(self, params: Params) -> Document:
        name = named(params, "RoleName")
        found = self._roles.get(name)
        if found is None:
            raise _missing("role", name)
        return found

    def _create_role(self, call: Call, params: Params) -> dict[str, Any]:
        name = named(params, "RoleName")
        if name in self._roles:
            raise AwsError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
        role: Document = {
            "kind": "role",
            "name": name,
            "path": params.get("Path") or "/",
            "trust": _document(named(params, "AssumeRolePolicyDocument"), principals=True, resources=False),
            "description": params.get("Description") or "",
            "seconds": int(params.get("MaxSessionDuration") or 3600),
            "boundary": params.get("PermissionsBoundary"),
            "created": self._timeline.now(),
            "inline": {},
            "attached": [],
            "tags": tags_of(params.get("Tags")),
        }
        self._roles.put(name, role)
        return {"Role": self._shown_role(role)}

    def _delete_role(self, call: Call, params: Params) -> dict[str, Any]:
        role = self._role(params)
        if role["inline"] or role["attached"]:
            raise AwsError("DeleteConflict", "Cannot delete entity, must detach all policies first.", 409)
        self._roles.drop(role["name"])
        return {}

    def _update_role(self, call: Call, params: Params) -> dict[str, Any]:
        role = self._role(params)
        role["description"] = params.get("Description") or role["description"]
        role["seconds"] = int(params.get("MaxSessionDuration") or role["seconds"])
        return self._kept(role)

    def _update_trust(self, call: Call, params: Params) -> dict[str, Any]:
        role = self._role(params)
        role["trust"] = _document(named(params, "PolicyDocument"), principals=True, resources=False)
        return self._kept(role)

    def _put_inline(self, call: Call, params: Params) -> dict[str, Any]:
        role = self._role(params)
        role["inline"][named(params, "PolicyName")] = _document(named(params, "PolicyDocument"))
        return self._kept(role)

    def _get_inline(self, call: Call, params: Params) -> dict[str, Any]:
        role, name = self._role(params), named(params, "PolicyName")
        if name not in role["inline"]:
            raise _missing("role policy", name)
        return {"RoleName": role["name"], "PolicyName": name, "PolicyDocument": quote(role["inline"][name])}

    def _delete_inline(self, call: Call, params: Params) -> dict[str, Any]:
        role, name = self._role(params), named(params, "PolicyName")
        if role["inline"].pop(name, None) is None:
            raise _missing("role policy", name)
        return self._kept(role)

    def _list_inline(self, call: Call, params: Params) -> dict[str, Any]:
        return {"PolicyNames": sorted(self._role(params)["inline"]), "IsTruncated": False}

    def _attach(self, call: Call, params: Params) -> dict[str, Any]:
        role, arn = self._role(params), self._known(named(params, "PolicyArn"))
        if arn not in role["attached"]:
            role["attached"].append(arn)
        return self._kept(role)

    def _detach(self, call: Call, params: Params) -> dict[str, Any]:
        role, arn = self._role(params), named(params, "PolicyArn")
        if arn not in role["attached"]:
            raise _missing("policy", arn)
        role["attached"].remove(arn)
        return self._kept(role)

    def _list_attached(self, call: Call, params: Params) -> dict[str, Any]:
        found = self._role(params)["attached"]
        attached = [{"PolicyName": arn.rsplit("/", 1)[1], "PolicyArn": arn} for arn in found]
        return {"AttachedPolicies": attached, "IsTruncated": False}

    # Policies ---------------------------------------------------------------------------------------------------------

    def _known(self, arn: str) -> str:
        if not arn.startswith("arn:aws:iam::aws:policy/") and arn not in self._policies:  # AWS's own are all there
            raise _missing("policy", arn)
        return arn

    def _policy(self, params: Params) -> Document:
        arn = named(params, "PolicyArn")
        found = self._policies.get(arn)
        if found is None:
            raise AwsError("NoSuchEntity", f"Policy {arn} was not found.", 404)
        return found

    def _create_policy(self, call: Call, params: Params) -> dict[str, Any]:
        name, path = named(params, "PolicyName"), params.get("Path") or "/"
        arn = f"arn:aws:iam::{self.account}:policy{path}{name}"
        if arn in self._policies:
            raise AwsError("EntityAlreadyExists", f"A policy called {name} already exists. Duplicate names.", 409)
        now = self._timeline.now()
        text = _document(named(params, "PolicyDocument"))
        policy: Document = {
            "kind": "policy",
            "name": name,
            "path": path,
            "arn": arn,
            "description": params.get("Description") or "",
            "created": now,
            "default": "v1",
            "next": 2,
            "versions": {"v1": {"text": text, "created": now}},
            "tags": tags_of(params.get("Tags")),
        }
        self._policies.put(arn, policy)
        return {"Policy": self._shown_policy(policy)}

    def _delete_policy(self, call: Call, params: Params) -> dict[str, Any]:
        policy = self._policy(params)
        if self._count(policy["arn"]) or len(policy["versions"]) > 1:
            raise AwsError("DeleteConflict", "Cannot delete a policy attached to entities, or with versions.", 409)
        self._policies.drop(policy["arn"])
        return {}

    def _create_version(self, call: Call, params: Params) -> dict[str, Any]:
        policy = self._policy(params)
        if len(policy["versions"]) >= _VERSIONS:
            raise AwsError("LimitExceeded", f"A managed policy can have up to {_VERSIONS} versions.", 409)
        version = f"v{policy['next']}"
        policy["next"] += 1
        text = _document(named(params, "PolicyDocument"))
        policy["versions"][version] = {"text": text, "created": self._timeline.now()}
        if str(params.get("SetAsDefault")).lower() == "true":
            policy["default"] = version
        self._kept(policy)
        return {"PolicyVersion": _shown_version(policy, version)}

    def _delete_version(self, call: Call, params: Params) -> dict[str, Any]:
        policy, version = self._policy(params), named(params, "VersionId")
        if version == policy["default"]:
            raise AwsError("DeleteConflict", "Cannot delete the default version of a policy.", 409)
        if policy["versions"].pop(version, None) is None:
            raise _missing("policy version", version)
        return self._kept(policy)

    def _get_version(self, call: Call, params: Params) -> dict[str, Any]:
        policy, version = self._policy(params), named(params, "VersionId")
        if version not in policy["versions"]:
            raise _missing("policy version", version)
        text = quote(policy["versions"][version]["text"])
        return {"PolicyVersion": {**_shown_version(policy, version), "Document": text}}

    def _list_versions(self, call: Call, params: Params) -> dict[str, Any]:
        policy = self._policy(params)
        return {"Versions": [_shown_version(policy, each) for each in policy["versions"]], "IsTruncated": False}

    # Both -------------------------------------------------------------------------------------------------------------

    def _kept(self, document: Document) -> dict[str, Any]:
        if document["kind"] == "role":
            self._roles.put(document["name"], document)
        else:
            self._policies.put(document["arn"], document)
        return {}

    def _tag(self, document: Document, params: Params) -> dict[str, Any]:
        document["tags"] |= tags_of(params.get("Tags"))
        return self._kept(document)

    def _untag(self, document: Document, params: Params) -> dict[str, Any]:
        for key in params.get("TagKeys") or ():
            document["tags"].pop(key, None)
        return self._kept(document)

    def _count(self, arn: str) -> int:
        return sum(arn in role["attached"] for _, role in self._roles.items())

    def _shown_role(self, role: Document) -> dict[str, Any]:
        boundary = role["boundary"]
        limit = {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": boundary}
        return {
            "Path": role["path"],
            "RoleName": role["name"],
            "RoleId": _id("AROA", role["name"], role["created"]),
            "Arn": f"arn:aws:iam::{self.account}:role{role['path']}{role['name']}",
            "CreateDate": time(role["created"]),
            "AssumeRolePolicyDocument": quote(role["trust"]),
            **({"Description": role["description"]} if role["description"] else {}),
            "MaxSessionDuration": role["seconds"],
            **({"PermissionsBoundary": limit} if boundary else {}),
            "Tags": tag_list(role),
        }

    def _shown_policy(self, policy: Document) -> dict[str, Any]:
        return {
            "PolicyName": policy["name"],
            "PolicyId": _id("ANPA", policy["arn"], policy["created"]),
            "Arn": policy["arn"],
            "Path": policy["path"],
            "DefaultVersionId": policy["default"],
            "AttachmentCount": self._count(policy["arn"]),
            "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": True,
            **({"Description": policy["description"]} if policy["description"] else {}),
            "CreateDate": time(policy["created"]),
            "UpdateDate": time(policy["versions"][policy["default"]]["created"]),
            "Tags": tag_list(policy),
        }


def _shown_version(policy: Document, version: str) -> dict[str, Any]:
    return {
        "VersionId": version,
        "IsDefaultVersion": version == policy["default"],
        "CreateDate": time(policy["versions"][version]["created"]),
    }


def _document(text: str, *, principals: bool = False, resources: bool = True) -> str:
    """Return a policy document as it was given; raises AwsError for what IAM would not read."""
    try:
        document = msgspec.json.decode(text)
        if not resources and isinstance(document, dict):  # a role's trust is about the role itself
            several = document.get("Statement", [])
            several = several if isinstance(several, list) else [several]
            document = {**document, "Statement": [{"Resource": "*", **one} for one in several]}
        Policy.parse(document, principals=principals)
    except (msgspec.DecodeError, PolicyError, TypeError) as error:
        raise AwsError("MalformedPolicyDocument", f"The policy is not in the valid JSON format: {error}") from None
    return text


def _id(kind: str, name: str, created: float) -> str:
    return kind + hashlib.sha256(f"{name} {created}".encode()).hexdigest()[:17].upper()
