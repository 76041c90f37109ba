"""The management API's requests and answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from aiohttp import web

from polybus.localcloud.servicebus.entities.mailbox import Mailbox
from polybus.localcloud.servicebus.entities.namespace import Namespace
from polybus.localcloud.servicebus.entities.options import SubscriptionOptions, TopicOptions
from polybus.localcloud.servicebus.entities.topic import Subscription, Topic
from polybus.localcloud.servicebus.management import atom
from polybus.localcloud.servicebus.management.rules_xml import read_rule, rule_description
from polybus.localcloud.servicebus.paths import entity_path
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, NOT_FOUND, UNAUTHORIZED, Refusal
from polybus.localcloud.servicebus.rights import MANAGE
from polybus.localcloud.servicebus.rules.rule import Rule
from polybus.localcloud.servicebus.wire import websocket
from polybus.localcloud.servicebus.wire.host import Host

__all__ = ["application"]

VERSION = "2021-05"  # of the API: what clients name, and ours where one names none
PAGE = 100  # entries of a page where a client names none; the service's own most
_PLACE = re.compile(
    r"/(?P<entity>.+?)(?:/subscriptions(?:/(?P<subscription>[^/]+)(?:/rules(?:/(?P<rule>[^/]+))?)?)?)?\Z", re.IGNORECASE
)


def application(host: Host) -> web.Application:
    """Return the HTTP side of a server."""
    app = web.Application()
    app.router.add_route("*", "/{place:.*}", _Api(host).handle)
    return app


class _Api:
    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def _namespace(self) -> Namespace:
        return self._host.namespace

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.lower() == websocket.PATH:
            return await websocket.converse(self._host, request)
        reason = None
        try:
            self._host.faults.check("http", request.path.strip("/"))
            key = self._host.rights.verify(request.headers.get("Authorization", ""))
            self._require(key, request)
            status, element = self._dispatch(request, await request.read())
            durable: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            self._namespace.journal.after_commit(durable.set_result)
            failure = await durable
            if failure is not None:
                raise Refusal("amqp:internal-error", f"The store failed: {failure}")
        except Refusal as refusal:
            status, element = refusal.status, atom.error(refusal.status, refusal.description)
            if refusal.description.startswith("SubCode="):
                reason = " ".join(refusal.description.split())  # the service has it in the status line
        body = b"" if element is None else atom.spell(element)
        return web.Response(status=status, reason=reason, body=body, content_type="application/xml", charset="utf-8")

    def _require(self, key: str | None, request: web.Request) -> None:
        """Raise Refusal, in the service's words, where a key may not manage what is asked for."""
        path = entity_path(request.path)
        if MANAGE in self._host.rights.claims(key, path):
            return
        below = re.search(r"/(subscriptions|rules)(/[^/]+)?\Z", f"/{path}", re.IGNORECASE)
        if below is not None:
            kind = below[1].capitalize()
            operation = {"PUT": f"CreateOrUpdate{kind[:-1]}", "DELETE": f"Delete{kind[:-1]}"}.get(request.method)
            operation = operation or (f"Get{kind[:-1]}" if below[2] else f"Enumerate{kind}")
            raise Refusal(
                UNAUTHORIZED,
                f"SubCode=40100: Unauthorized : Unauthorized access for '{operation}' operation on endpoint "
                f"'sb://localhost/{path}'.",
            )
        action = {"PUT": "EntityWrite", "DELETE": "EntityDelete"}.get(request.method)
        if action is not None:
            raise Refusal(UNAUTHORIZED, f"Authorization failed for specified action: Manage,{action}.")
        if not path.startswith("$"):
            self._namespace.find(path)
        raise Refusal(UNAUTHORIZED, "Manage,EntityRead claims required for this operation.")

    def _dispatch(self, request: web.Request, body: bytes) -> tuple[int, ET.Element | None]:
        path = request.path.rstrip("/")  # clients of Go and JavaScript ask for lists with a slash at the end
        if path.lower() == "/$namespaceinfo":
            return 200, self._namespace_info(request)
        if path.lower().startswith("/$resources/"):
            return 200, self._resources(request, path.rsplit("/", 1)[1].lower())
        match = _PLACE.match(path)
        if match is None:
            raise Refusal(NOT_FOUND, f"There is nothing at '{path}'.")
        entity, subscription, rule = match["entity"], match["subscription"], match["rule"]
        if rule is not None:
            return self._rule(request, body, entity, subscription, rule)
        if path.lower().endswith("/rules"):
            return 200, self._rules(request, entity, subscription)
        if subscription is None and path.lower().endswith("/subscriptions"):
            found = self._namespace.topic(entity).subscriptions.values()
            return 200, self._feed(
                request, "Subscriptions", list(found), lambda one: self._entry(request, one, f"{path}/{one.name}")
            )
        return self._entity(request, body, entity, subscription)

    # -- entities

    def _entity(
        self, request: web.Request, body: bytes, entity: str, subscription: str | None
    ) -> tuple[int, ET.Element | None]:
        path = entity if subscription is None else f"{entity}/Subscriptions/{subscription}"
        match request.method:
            case "GET":
                return 200, self._entry(request, self._namespace.find(path), request.path)
            case "DELETE":
                self._namespace.delete(path)
                return 200, None
            case "PUT":
                return self._put(request, atom.read(body), path, entity, subscription)
        raise Refusal(ARGUMENT_ERROR, f"{request.method} is not understood here.", 405)

    def _put(
        self, request: web.Request, element: ET.Element, path: str, entity: str, subscription: str | None
    ) -> tuple[int, ET.Element]:
        options = atom.options_of(element)
        if request.headers.get("If-Match") is not None:
            return 200, self._entry(request, self._namespace.update(path, options), request.path)
        if isinstance(options, SubscriptionOptions) != (subscription is not None):
            raise Refusal(ARGUMENT_ERROR, f"The description is not one for '{path}'.")
        if isinstance(options, SubscriptionOptions):
            rule = element.find(atom.SB + "DefaultRuleDescription")
            rules = None if rule is None else [_default_rule(rule)]
            created: Mailbox = self._namespace.create_subscription(entity, subscription or "", options, rules)
        elif isinstance(options, TopicOptions):
            created = self._namespace.create_topic(entity, options)
        else:
            created = self._namespace.create_queue(entity, options)
        return 201, self._entry(request, created, request.path)

    def _entry(self, request: web.Request, mailbox: Mailbox, path: str) -> ET.Element:
        now = self._namespace.clock.time()
        extra: dict[str, object] = {"CreatedAt": atom.stamp(mailbox.created), "UpdatedAt": atom.stamp(mailbox.updated)}
        if isinstance(mailbox, Subscription):
            extra["AccessedAt"] = extra[
                "CreatedAt"
            ]  # only of queues and topics the service tells that nobody used them
        if mailbox.accessed is not None:
            extra["AccessedAt"] = atom.stamp(mailbox.accessed)
        if isinstance(mailbox, Topic):
            extra["SubscriptionCount"] = len(mailbox.subscriptions)
        title = mailbox.name if isinstance(mailbox, Subscription) else mailbox.path
        options = mailbox.options
        element = atom.description(options, mailbox.counts(), extra)
        return atom.entry(_url(request, path), title, element, now)

    # -- lists

    def _resources(self, request: web.Request, kind: str) -> ET.Element:
        if kind == "queues":
            return self._feed(request, "Queues", self._namespace.queues(), lambda q: self._entry(request, q, q.path))
        if kind == "topics":
            return self._feed(request, "Topics", self._namespace.topics(), lambda t: self._entry(request, t, t.path))
        raise Refusal(NOT_FOUND, f"There are no resources '{kind}'.")

    def _feed(
        self, request: web.Request, title: str, found: list[Any], entry: Callable[[Any], ET.Element]
    ) -> ET.Element:
        try:
            skip = max(int(request.query.get("$skip", "0")), 0)
            top = min(max(int(request.query.get("$top", str(PAGE))), 1), PAGE)
        except ValueError as error:
            raise Refusal(ARGUMENT_ERROR, "$skip and $top must be numbers.") from error
        url = _url(request, request.path)
        page = f"{_url(request, request.path, version=False)}?$skip={skip + top}&$top={top}&{_version(request)}"
        following = page if skip + top < len(found) else None
        entries = [entry(one) for one in found[skip : skip + top]]
        return atom.feed(url, title, entries, following, self._namespace.clock.time())

    # -- rules

    def _rules(self, request: web.Request, topic: str, subscription: str) -> ET.Element:
        found = [c.rule for c in self._namespace.topic(topic).subscription(subscription).rules.values()]
        base = request.path.rstrip("/")
        return self._feed(request, "Rules", found, lambda rule: self._rule_entry(request, f"{base}/{rule.name}", rule))

    def _rule(
        self, request: web.Request, body: bytes, topic: str, subscription: str, name: str
    ) -> tuple[int, ET.Element | None]:
        match request.method:
            case "GET":
                found = self._namespace.topic(topic).subscription(subscription).rule(name)
                return 200, self._rule_entry(request, request.path, found)
            case "DELETE":
                self._namespace.drop_rule(topic, subscription, name)
                return 200, None
            case "PUT":
                changing = request.headers.get("If-Match") is not None
                rule = read_rule(name, atom.read(body))
                rule = self._namespace.put_rule(topic, subscription, rule, replace=changing)
                return (200 if changing else 201), self._rule_entry(request, request.path, rule)
        raise Refusal(ARGUMENT_ERROR, f"{request.method} is not understood here.", 405)

    def _rule_entry(self, request: web.Request, path: str, rule: Rule) -> ET.Element:
        return atom.entry(_url(request, path), rule.name, rule_description(rule), self._namespace.clock.time())

    # -- namespace

    def _namespace_info(self, request: web.Request) -> ET.Element:
        now = self._namespace.clock.time()
        element = ET.Element(atom.SB + "NamespaceInfo")
        for name, text in (
            ("CreatedTime", atom.stamp(now)),
            ("MessagingSKU", "Standard"),
            ("ModifiedTime", atom.stamp(now)),
            ("Name", "localhost"),
            ("NamespaceType", "Messaging"),
        ):
            ET.SubElement(element, atom.SB + name).text = text
        return atom.entry(_url(request, "$namespaceinfo"), "localhost", element, now)


def _default_rule(element: ET.Element) -> Rule:
    name = element.findtext(atom.SB + "Name") or "$Default"
    described = ET.Element(atom.SB + "RuleDescription")
    described.extend(list(element))
    return replace(read_rule(name, described), name=name)


def _url(request: web.Request, path: str, *, version: bool = True) -> str:
    """Return the address of a path in the spelling that was asked for: clients read names out of an entry's id."""
    url = f"{request.scheme}://{request.host}/{quote(path.strip('/'), safe='/$')}"
    return f"{url}?{_version(request)}" if version else url


def _version(request: web.Request) -> str:
    return f"api-version={quote(request.query.get('api-version', VERSION))}"
