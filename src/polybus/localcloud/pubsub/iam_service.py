"""google.iam.v1.IAMPolicy, over everything that the server has."""

from __future__ import annotations

from collections.abc import Mapping

from polybus.localcloud.pubsub import protocol
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.protocol import Proto
from polybus.localcloud.pubsub.refusal import invalid, not_found
from polybus.localcloud.pubsub.wire import Context, Method

__all__ = ["IamService"]


class IamService:
    """Callers are not authenticated and own everything: TestIamPermissions grants all that it is asked for."""

    NAME = "google.iam.v1.IAMPolicy"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def methods(self) -> Mapping[str, Method]:
        return {
            "GetIamPolicy": (protocol.GetIamPolicyRequest, self.get_iam_policy),
            "SetIamPolicy": (protocol.SetIamPolicyRequest, self.set_iam_policy),
            "TestIamPermissions": (protocol.TestIamPermissionsRequest, self.granted_permissions),
        }

    def _check(self, resource: str) -> None:
        if not self._catalog.exists(resource):
            raise not_found(resource)

    async def get_iam_policy(self, request: Proto, _: Context) -> Proto:
        self._check(request.resource)
        return self._catalog.policies.get(request.resource)

    async def set_iam_policy(self, request: Proto, _: Context) -> Proto:
        self._check(request.resource)
        policy = self._catalog.policies.put(request.resource, request.policy)
        await self._catalog.journal.commit()
        return policy

    async def granted_permissions(self, request: Proto, _: Context) -> Proto:
        for permission in request.permissions:
            if not permission.startswith("pubsub."):
                raise invalid(f"Permission {permission} is not valid for this resource.")
        held = request.permissions if self._catalog.exists(request.resource) else ()
        return protocol.TestIamPermissionsResponse(permissions=held)
