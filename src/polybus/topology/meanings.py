"""What each key of polybus.toml means, for the reference, the schema and editors; a test holds it to all keys.

A key is looked up by its whole path with `*` for names, then by its name alone where it means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from polybus.topology.shape import Form, Key

__all__ = ["meaning"]

_MEANINGS: Final[Mapping[str, str]] = {
    "bus": "The bus as a whole.",
    "bus.name": "The name of the bus. It is part of what everything is called on a cloud, so a new name is a new bus.",
    "topics": "Where messages are published, each under its name; every subscription gets a copy.",
    "topics.*": "One topic.",
    "subscriptions": "Named, durable views of topics, from which consumers take messages.",
    "subscriptions.*": "One subscription.",
    "queues": "Point to point: what is published to one goes to one of its consumers.",
    "queues.*": "One queue.",
    "services": "Workloads with their rights: a service can do what is written here and nothing else.",
    "services.*": "One service.",
    "alarms": "When to raise an alarm. Without this table there are none.",
    "large_bodies": "Puts bodies that are too large for a message beside the bus; without it they are refused.",
    "large_bodies.over": "The largest body that stays in its message, 200KiB where nothing is said.",
    "ordered": "Whether messages with the same ordering key are delivered in order, one at a time.",
    "subscriptions.*.ordered": "Whether it keeps the order of its topic; by default it does as the topic.",
    "max_delay": "The longest delay that a publish may ask for; without it none may.",
    "fairness_key": "The attribute whose value says whose message it is; no tenant waits behind all of another's. Not "
    "where order is kept, and not on every cloud.",
    "max_message_size": "The largest message, attributes included; by default the cloud's own.",
    "existing": "The ARN or id of one that exists and is adopted, where none is to be created.",
    "allow": "Who may use it beside the services of the bus.",
    "principal": "Who may, in the cloud's own words: a service, an account, a role, an object id, a member.",
    "topics.*.allow.actions": "What they may do.",
    "queues.*.allow.actions": "What they may do.",
    "topics.*.allow.cloud": "The cloud whose words these are; by default every cloud knows them.",
    "queues.*.allow.cloud": "The cloud whose words these are; by default every cloud knows them.",
    "conditions": "Conditions in the cloud's own words, all of which have to hold.",
    "topics.*.allow.conditions.*": "The values of one condition, one of which has to hold.",
    "queues.*.allow.conditions.*": "The values of one condition, one of which has to hold.",
    "subscriptions.*.topic": "The topic whose messages it gets.",
    "filter": "Which messages it gets, by their attributes, in the filter language; by default all.",
    "push": "Where the cloud itself delivers, in place of consumers; exactly one of the addresses.",
    "subscriptions.*.push.email": "An e-mail address.",
    "sms": "A telephone number.",
    "https": "A URL that messages are posted to.",
    "function": "A function of the cloud's: its address, or a name that the stack's configuration resolves.",
    "forward": "A queue or topic of this bus, which gets the messages as if they had been published there.",
    "raw": "Whether the body alone is posted, without the cloud's envelope; beside `https` only.",
    "tap": "Whether `polybus tail` reads it: a view for looking, which no service consumes.",
    "lease": "How long a message is one consumer's alone before the lease is extended or the message comes again.",
    "max_attempts": "At which failed attempt a message becomes a dead letter.",
    "retention": "How long a message that nobody settles is kept.",
    "dead_letter_retention": "How long a dead letter is kept.",
    "backoff": "How long a failed message waits before its next attempt; doubled each time, with jitter.",
    "initial": "The wait after the first failure.",
    "maximum": "The longest wait.",
    "publishes": "The topics and queues that it publishes to.",
    "consumes": "The subscriptions and queues that it consumes.",
    "operates": "The subscriptions and queues whose dead letters it looks at, puts back and purges.",
    "alarms.dead_letters": "How many dead letters of a subscription or queue raise it.",
    "oldest_age": "The age of the oldest waiting message that raises it.",
    "backlog": "How many waiting messages raise it.",
    "failed_pushes": "How many failed deliveries of a push raise it.",
    "topics.*.alarms": "Thresholds of this entry's own, or `false` for no alarms of it.",
    "subscriptions.*.alarms": "Thresholds of this entry's own, or `false` for no alarms of it.",
    "queues.*.alarms": "Thresholds of this entry's own, or `false` for no alarms of it.",
    "topics.*.alarms.dead_letters": "How many dead letters of each of its subscriptions raise it.",
    "subscriptions.*.alarms.dead_letters": "How many of its dead letters raise it.",
    "queues.*.alarms.dead_letters": "How many of its dead letters raise it.",
    "schema": "What its messages are: a Python type, or a file. Publishing checks them by it.",
    "compatibility": "Who has to read on when the schema changes: new readers old messages (backward), old readers new "
    "ones (forward), both (full) or nobody (none).",
    "format": "How its messages travel: as they are, or as CloudEvents 1.0 in binary or structured mode.",
    "clouds": "The clouds on which it exists; by default on all. The embedded store has every entry.",
    "consumers": "What consumes it: polybus, which counts attempts, or something foreign that leaves it to the cloud.",
    "description": "What it is for, in a sentence or two; `polybus catalogue` and `polybus export asyncapi` show it.",
    "owner": "Whom to ask: a team or a person.",
    "notify": "Who hears of an alarm.",
    "alarms.notify.email": "An e-mail address.",
    "alarms.notify.topic": "A topic of the cloud's own kind, or what it has in its place, by its ARN or id.",
}
_FREE = "Arguments of {name}'s Pulumi provider for this resource, for what polybus has no word of its own."


def meaning(key: Key) -> str:
    """Return what a key means, as a sentence or two; "" where nobody wrote it down."""
    if key.form is Form.FREE:
        return _FREE.format(name=key.name)
    return _MEANINGS.get(".".join(key.path)) or _MEANINGS.get(key.name, "")
