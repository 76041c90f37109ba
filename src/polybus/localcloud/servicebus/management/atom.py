"""The XML of the management API: entries and feeds, descriptions in and out.

Source: Microsoft's "Service Bus resource manager REST API" (the ATOM interface), and the models of azure-servicebus.
"""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from polybus.localcloud.servicebus.durations import format_duration, parse_duration
from polybus.localcloud.servicebus.entities.options import (
    AccessRule,
    Counts,
    QueueOptions,
    SubscriptionOptions,
    TopicOptions,
)
from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal
from polybus.localcloud.servicebus.rights import LISTEN, MANAGE, SEND

__all__ = ["ATOM", "SB", "XSI", "description", "entry", "error", "feed", "options_of", "read", "spell", "stamp"]

ATOM = "{http://www.w3.org/2005/Atom}"
SB = "{http://schemas.microsoft.com/netservices/2010/10/servicebus/connect}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
COUNTS = "{http://schemas.microsoft.com/netservices/2011/06/servicebus}"

Options = QueueOptions | TopicOptions | SubscriptionOptions

# (element, field, how): the order is the service's, which refuses any other. Elements without a field are told only.
_TIME, _NUMBER, _FLAG, _TEXT, _KB = "time", "number", "flag", "text", "kilobytes"
_TOLD, _ACCESS, _MEGABYTES = "told", "access", "megabytes"
_FIELDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "QueueDescription": (
        ("LockDuration", "lock_duration", _TIME),
        ("MaxSizeInMegabytes", "max_size_megabytes", _MEGABYTES),
        ("RequiresDuplicateDetection", "detects_duplicates", _FLAG),
        ("RequiresSession", "requires_session", _FLAG),
        ("DefaultMessageTimeToLive", "default_ttl", _TIME),
        ("DeadLetteringOnMessageExpiration", "dead_letter_on_expiry", _FLAG),
        ("DuplicateDetectionHistoryTimeWindow", "duplicate_window", _TIME),
        ("MaxDeliveryCount", "max_delivery_count", _NUMBER),
        ("EnableBatchedOperations", "batched_operations", _FLAG),
        ("SizeInBytes", "", _TOLD),
        ("MessageCount", "", _TOLD),
        ("IsAnonymousAccessible", "", _TOLD),
        ("AuthorizationRules", "access", _ACCESS),
        ("Status", "status", _TEXT),
        ("ForwardTo", "forward_to", _TEXT),
        ("UserMetadata", "user_metadata", _TEXT),
        ("CreatedAt", "", _TOLD),
        ("UpdatedAt", "", _TOLD),
        ("AccessedAt", "", _TOLD),
        ("SupportOrdering", "support_ordering", _FLAG),
        ("CountDetails", "", _TOLD),
        ("AutoDeleteOnIdle", "auto_delete_on_idle", _TIME),
        ("EnablePartitioning", "partitioned", _FLAG),
        ("EntityAvailabilityStatus", "", _TOLD),
        ("EnableExpress", "express", _FLAG),
        ("ForwardDeadLetteredMessagesTo", "forward_dead_letters_to", _TEXT),
        ("MaxMessageSizeInKilobytes", "max_message_bytes", _KB),
    ),
    "TopicDescription": (
        ("DefaultMessageTimeToLive", "default_ttl", _TIME),
        ("MaxSizeInMegabytes", "max_size_megabytes", _MEGABYTES),
        ("RequiresDuplicateDetection", "detects_duplicates", _FLAG),
        ("DuplicateDetectionHistoryTimeWindow", "duplicate_window", _TIME),
        ("EnableBatchedOperations", "batched_operations", _FLAG),
        ("SizeInBytes", "", _TOLD),
        ("FilteringMessagesBeforePublishing", "filters_before_publishing", _FLAG),
        ("IsAnonymousAccessible", "", _TOLD),
        ("AuthorizationRules", "access", _ACCESS),
        ("Status", "status", _TEXT),
        ("UserMetadata", "user_metadata", _TEXT),
        ("CreatedAt", "", _TOLD),
        ("UpdatedAt", "", _TOLD),
        ("AccessedAt", "", _TOLD),
        ("SupportOrdering", "support_ordering", _FLAG),
        ("CountDetails", "", _TOLD),
        ("SubscriptionCount", "", _TOLD),
        ("AutoDeleteOnIdle", "auto_delete_on_idle", _TIME),
        ("EnablePartitioning", "partitioned", _FLAG),
        ("EntityAvailabilityStatus", "", _TOLD),
        ("EnableSubscriptionPartitioning", "subscription_partitioning", _FLAG),
        ("EnableExpress", "express", _FLAG),
        ("MaxMessageSizeInKilobytes", "max_message_bytes", _KB),
    ),
    "SubscriptionDescription": (
        ("LockDuration", "lock_duration", _TIME),
        ("RequiresSession", "requires_session", _FLAG),
        ("DefaultMessageTimeToLive", "default_ttl", _TIME),
        ("DeadLetteringOnMessageExpiration", "dead_letter_on_expiry", _FLAG),
        ("DeadLetteringOnFilterEvaluationExceptions", "dead_letter_on_filter_error", _FLAG),
        ("MessageCount", "", _TOLD),
        ("MaxDeliveryCount", "max_delivery_count", _NUMBER),
        ("EnableBatchedOperations", "batched_operations", _FLAG),
        ("Status", "status", _TEXT),
        ("ForwardTo", "forward_to", _TEXT),
        ("CreatedAt", "", _TOLD),
        ("UpdatedAt", "", _TOLD),
        ("AccessedAt", "", _TOLD),
        ("UserMetadata", "user_metadata", _TEXT),
        ("CountDetails", "", _TOLD),
        ("ForwardDeadLetteredMessagesTo", "forward_dead_letters_to", _TEXT),
        ("AutoDeleteOnIdle", "auto_delete_on_idle", _TIME),
        ("EntityAvailabilityStatus", "", _TOLD),
    ),
}
_KINDS: dict[str, type[QueueOptions] | type[TopicOptions] | type[SubscriptionOptions]] = {
    "QueueDescription": QueueOptions,
    "TopicDescription": TopicOptions,
    "SubscriptionDescription": SubscriptionOptions,
}
NEVER = "0001-01-01T00:00:00Z"  # .NET's first moment: what the service tells of an entity that nobody used
PARTITIONS = 16
LARGEST_MEGABYTES = 5120  # of one partition: what is more was read of a description
SHORTEST_LOCK = 5.0  # seconds; Microsoft's "Service Bus quotas"


def stamp(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read(body: bytes) -> ET.Element:
    """Return the description inside an entry; raise Refusal."""
    try:
        # expat bounds entity expansion itself (2.4.1 and later), and nothing outside the document is ever fetched.
        root = ET.fromstring(body)  # noqa: S314
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two where it names an odd encoding
        raise Refusal(ARGUMENT_ERROR, f"The request's body is no XML: {error}.") from error
    content = root.find(f"{ATOM}content")
    if content is None or len(content) != 1:
        raise Refusal(ARGUMENT_ERROR, "The request's body is no entry with one description.")
    return content[0]


def _parse(how: str, text: str) -> Any:
    try:
        match how:
            case "time":
                return parse_duration(text)
            case "number" | "megabytes":
                return int(text)
            case "kilobytes":
                return int(text) * 1024
            case "flag":
                return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError) as error:
        raise Refusal(ARGUMENT_ERROR, f"'{text}' is no {how}.") from error
    return text


def _format(how: str, value: Any) -> str:
    match how:
        case "time":
            return format_duration(value)
        case "kilobytes":
            return str(value // 1024)
        case "flag":
            return str(value).lower()
    return str(value)


def options_of(element: ET.Element) -> Options:
    """Return the options of a description; raise Refusal."""
    tag = element.tag.removeprefix(SB)
    if tag not in _KINDS:
        raise Refusal(ARGUMENT_ERROR, f"<{tag}> is no entity's description.")
    found: dict[str, Any] = {}
    for name, field, how in _FIELDS[tag]:
        child = element.find(SB + name) if how != _TOLD else None
        if child is not None and how == _ACCESS:
            found[field] = tuple(_access_rule(one) for one in child)
        elif child is not None and child.text:
            found[field] = _parse(how, child.text)
    lock = found.get("lock_duration", SHORTEST_LOCK)
    if lock is None or lock < SHORTEST_LOCK:
        raise Refusal(ARGUMENT_ERROR, f"LockDuration must be at least {SHORTEST_LOCK} s.")
    return _KINDS[tag](**found)


def _access_rule(element: ET.Element) -> AccessRule:
    def said(name: str) -> str:
        return element.findtext(SB + name) or ""

    claims = tuple(child.text or "" for child in element.findall(f"{SB}Rights/{SB}AccessRights"))
    if not said("KeyName") or not claims or not set(claims) <= {SEND, LISTEN, MANAGE}:
        raise Refusal(ARGUMENT_ERROR, "An authorization rule has a KeyName, and rights of Send, Listen and Manage.")
    if MANAGE in claims and len(set(claims)) < 3:
        raise Refusal(ARGUMENT_ERROR, "The right Manage also needs Send and Listen.")
    keys = (said(name) or base64.b64encode(os.urandom(32)).decode() for name in ("PrimaryKey", "SecondaryKey"))
    primary, secondary = keys
    return AccessRule(name=said("KeyName"), claims=claims, primary=primary, secondary=secondary)


def _put_access(parent: ET.Element, rules: Iterable[AccessRule]) -> None:
    element = ET.SubElement(parent, SB + "AuthorizationRules")
    for rule in rules:
        child = ET.SubElement(element, SB + "AuthorizationRule", {XSI + "type": "SharedAccessAuthorizationRule"})
        ET.SubElement(child, SB + "ClaimType").text = "SharedAccessKey"
        ET.SubElement(child, SB + "ClaimValue").text = "None"
        rights = ET.SubElement(child, SB + "Rights")
        for claim in rule.claims:
            ET.SubElement(rights, SB + "AccessRights").text = claim
        for name, text in (
            ("KeyName", rule.name),
            ("PrimaryKey", rule.primary),
            ("SecondaryKey", rule.secondary),
        ):
            ET.SubElement(child, SB + name).text = text


def description(options: Options, counts: Counts, extra: Mapping[str, object]) -> ET.Element:
    """Return an entity's description, with what is counted of it, and with what else is to be told."""
    tag = next(name for name, kind in _KINDS.items() if isinstance(options, kind))
    told = {**_told(counts), **extra}
    element = ET.Element(SB + tag)
    for name, field, how in _FIELDS[tag]:
        if name == "CountDetails":
            element.append(_count_details(counts))
        elif how == _ACCESS:
            _put_access(element, getattr(options, field))
        elif how == _MEGABYTES:
            ET.SubElement(element, SB + name).text = str(_megabytes(options))
        elif how == _TOLD:
            ET.SubElement(element, SB + name).text = str(told[name])
        elif (value := getattr(options, field)) is not None or how == _TIME:
            ET.SubElement(element, SB + name).text = _format(how, value)
    return element


def _megabytes(options: Options) -> int:
    """Return the size that is told: of a partitioned entity, that of its 16 partitions together."""
    size: int = getattr(options, "max_size_megabytes", 0)
    return size * PARTITIONS if getattr(options, "partitioned", False) and size <= LARGEST_MEGABYTES else size


def _told(counts: Counts) -> dict[str, object]:
    total = counts.active + counts.deferred + counts.scheduled + counts.dead_letter + counts.transfer_dead_letter
    return {
        "SizeInBytes": counts.size,
        "MessageCount": total,
        "IsAnonymousAccessible": "false",
        "AccessedAt": NEVER,
        "EntityAvailabilityStatus": "Available",
    }


def _count_details(counts: Counts) -> ET.Element:
    details = ET.Element(SB + "CountDetails")
    for name, number in (
        ("ActiveMessageCount", counts.active + counts.deferred),
        ("DeadLetterMessageCount", counts.dead_letter),
        ("ScheduledMessageCount", counts.scheduled),
        ("TransferMessageCount", 0),
        ("TransferDeadLetterMessageCount", counts.transfer_dead_letter),
    ):
        ET.SubElement(details, COUNTS + name).text = str(number)
    return details


def entry(url: str, title: str, content: ET.Element, now: float) -> ET.Element:
    """Return an ATOM entry around a description."""
    element = ET.Element(ATOM + "entry")
    for name, text in (("id", url), ("title", title), ("published", stamp(now)), ("updated", stamp(now))):
        child = ET.SubElement(element, ATOM + name)
        child.text = text
        if name == "title":
            child.set("type", "text")
    ET.SubElement(element, ATOM + "link", rel="self", href=url)
    ET.SubElement(element, ATOM + "content", type="application/xml").append(content)
    return element


def feed(url: str, title: str, entries: Iterable[ET.Element], following: str | None, now: float) -> ET.Element:
    """Return an ATOM feed; `following` is the address of the next page."""
    element = ET.Element(ATOM + "feed")
    ET.SubElement(element, ATOM + "title", type="text").text = title
    ET.SubElement(element, ATOM + "id").text = url
    ET.SubElement(element, ATOM + "updated").text = stamp(now)
    ET.SubElement(element, ATOM + "link", rel="self", href=url)
    if following is not None:
        ET.SubElement(element, ATOM + "link", rel="next", href=following)
    element.extend(entries)
    return element


def spell(element: ET.Element) -> bytes:
    """Return a document, with namespaces declared where and under the prefixes that the service does.

    Clients that know no namespaces read it by these names: the default one for elements, `i` for attributes that say a
    type, `d2p1` for what is counted.
    """
    out = ['<?xml version="1.0" encoding="utf-8"?>']
    _spell(element, "", out)
    return "".join(out).encode("utf-8", "xmlcharrefreplace")


def _spell(element: ET.Element, default: str, out: list[str]) -> None:
    space, _, name = element.tag.rpartition("}")
    space = space.lstrip("{")
    declared = ""
    if space == COUNTS[1:-1]:
        name = f"d2p1:{name}"
    elif space != default:
        declared, default = f" xmlns={quoteattr(space)}", space
        if space == SB[1:-1]:
            declared += f' xmlns:i="{XSI[1:-1]}"'
    if name == "CountDetails":
        declared += f' xmlns:d2p1="{COUNTS[1:-1]}"'
    given = "".join(f" {key.replace(XSI, 'i:')}={quoteattr(value)}" for key, value in element.attrib.items())
    if element.text is None and len(element) == 0:
        out.append(f"<{name}{declared}{given} />")
        return
    out.append(f"<{name}{declared}{given}>{escape(element.text or '')}")
    for child in element:
        _spell(child, default, out)
    out.append(f"</{name}>")


def error(status: int, detail: str) -> ET.Element:
    element = ET.Element("Error")
    ET.SubElement(element, "Code").text = str(status)
    ET.SubElement(element, "Detail").text = detail
    return element
