"""HTTP in, HTTP out: which protocol, whose request, which service, and its answer or refusal."""

from __future__ import annotations

import inspect
import logging
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from polybus.clock import Clock
from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.faults import ConnectionCut, Faults
from polybus.localcloud.aws.look import Look, looks
from polybus.localcloud.aws.policy.document import Request
from polybus.localcloud.aws.policy.identities import Identities, authorise
from polybus.localcloud.aws.services import Service
from polybus.localcloud.aws.sns.signing import Signer
from polybus.localcloud.aws.wire.protocols import Answer, read
from polybus.localcloud.delays import Delays
from polybus.localcloud.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

__all__ = ["MAX_REQUEST", "Front", "Steered"]

log = logging.getLogger(__name__)

# A batch of 1 MiB, each byte of it three in a form (%XX) or two in JSON (\"), base64 on top, and the other parameters.
MAX_REQUEST = 8 * 1024 * 1024

UNSIGNED = ("ConfirmSubscription", "Unsubscribe")
_SCOPE = re.compile(r"Credential=([^/,\s]{1,200})/\d{8}/([a-z0-9-]{1,40})/([a-z0-9-]{1,40})/aws4_request")


@dataclass(frozen=True, slots=True)
class Steered:
    """What a test has of the front: calls that wait, and a look into queues."""

    clock: Clock
    delays: Delays
    look: Look


class Front:
    """Answers every HTTP request; nothing that a client sends ends it."""

    def __init__(
        self, services: Mapping[str, Service], store: Store, identities: Identities, faults: Faults, signer: Signer
    ) -> None:
        self._services = services
        self._store = store
        self._identities = identities
        self._faults = faults
        self._signer = signer
        self.steered: Steered | None = None

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        request_id = str(uuid.uuid4())
        target = request.headers.get("X-Amz-Target", "")
        if self.steered is not None and looks(request.path):
            return await self.steered.look.answer(request, target)
        if request.method == "GET" and "Action" not in request.query and not target and not _signed(request):
            return self._page(request.path)
        protocol = read(request.method, request.path, target, "sqs").protocol
        try:
            access_key, region, service = self._scope(request)
            asked = read(request.method, request.path, target, service)
            protocol = asked.protocol
            params = protocol.params(await request.read(), request.query_string)
            action = str(params.pop("Action", "")) if asked.action is None else asked.action
            if protocol.service == "sqs" and not target and request.path.count("/") == 2:
                params.setdefault("QueueUrl", request.path)  # older clients post to the queue's own URL
            principal = self._identities.arn(access_key)
            call = Call(
                protocol.service,
                action,
                region,
                access_key,
                principal,
                f"{request.scheme}://{request.host}",
                request_id,
                request.headers.get("X-Amzn-Trace-Id"),
                protocol.time,
            )
            response = await self._run(call, params, request.remote or "")
            return _answer(protocol.answer(action, response, request_id), request_id)
        except AwsError as error:
            return _answer(protocol.refusal(error, request_id), request_id)
        except ConnectionCut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        except web.HTTPRequestEntityTooLarge:
            too_large = AwsError("RequestEntityTooLarge", f"A request has at most {MAX_REQUEST} bytes.", 413)
            return _answer(protocol.refusal(too_large, request_id), request_id)
        except Exception:
            log.exception("local AWS: request %s failed", request_id)
            failure = AwsError("InternalFailure", "The server failed; its log has the reason.", 500)
            return _answer(protocol.refusal(failure, request_id), request_id)

    def _page(self, path: str) -> web.Response:
        if path == self._signer.path:
            return web.Response(body=self._signer.certificate, content_type="application/x-pem-file")
        if path != "/":
            return web.Response(text="<UnknownOperationException/>\n", status=404, content_type="text/xml")
        return web.json_response({"server": "polybus local AWS", "services": sorted(self._services)})

    def _scope(self, request: web.BaseRequest) -> tuple[str, str, str]:
        """Return access key, region and service of the request's signature, which is not verified.

        Nobody signs what the links in SNS's deliveries ask for: their key is empty, their region that of the ARN.
        """
        if request.query.get("Action") in UNSIGNED and "Authorization" not in request.headers:
            arn = Arn.parse(request.query.get("TopicArn") or request.query.get("SubscriptionArn"))
            return "", arn.region if arn is not None else "", "sns"
        header = request.headers.get("Authorization", "")
        presigned = request.query.get("X-Amz-Credential")
        found = _SCOPE.search(f"Credential={unquote(presigned)}" if presigned else header)
        if found is None:
            raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        if found[3] not in self._services:
            known = ", ".join(sorted(self._services))
            raise AwsError("UnknownService", f"This server has no {found[3]}, only {known}.", 404)
        return found[1], found[2], found[3]

    async def _run(self, call: Call, params: dict[str, Any], address: str) -> dict[str, Any]:
        service = self._services.get(call.service)
        action = service.actions.get(call.action) if service is not None else None
        if service is None or action is None:
            code = "UnknownOperationException" if call.service == "" else "InvalidAction"
            raise AwsError(code, f"The action {call.action[:80]} is not valid for this endpoint.")
        self._faults.begin(call.action)
        if self.steered is not None and self.steered.delays.planned:
            await self.steered.delays.hold(call.action, self.steered.clock)
        self._authorise(service, call, params, address)
        answer: dict[str, Any] | Awaitable[dict[str, Any]] = action(call, params)
        response: dict[str, Any] = await answer if inspect.isawaitable(answer) else answer
        # Nothing is answered before it is durable: what the client was told survives a kill.
        await self._store.commit()
        self._faults.finish(call.action)
        return response

    def _authorise(self, service: Service, call: Call, params: dict[str, Any], address: str) -> None:
        if call.anonymous:  # its token or its link is its right
            return
        identity = self._identities.policy(call.access_key)
        right, resource, policy = service.subject(call, params)
        if identity is None and policy is None:
            return
        context = {
            # Calls over loopback never leave the machine: they count as made over TLS, so that the usual statement
            # that denies everything else can stay in place.
            "aws:securetransport": "true",
            "aws:principalarn": call.principal,
            "aws:principalaccount": resource.split(":")[4] if resource.count(":") >= 5 else "",
            "aws:principalisawsservice": "false",
            "aws:requestedregion": call.region,
            "aws:sourceip": address,
            **service.context(call, params),
        }
        why = authorise(identity, policy, Request(call.principal, right, resource, context))
        if why is not None:
            raise AwsError("AuthorizationError" if call.service == "sns" else "AccessDenied", why, 403)


def _signed(request: web.BaseRequest) -> bool:
    return "Authorization" in request.headers or "X-Amz-Credential" in request.query


def _answer(answer: Answer, request_id: str) -> web.Response:
    headers = {"x-amzn-RequestId": request_id, **answer.headers}
    return web.Response(body=answer.body, status=answer.status, headers=headers)
