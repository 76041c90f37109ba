"""Topics and subscriptions."""

from __future__ import annotations

from polybus.localcloud.servicebus.entities.mailbox import DEAD_LETTERS, Home, Mailbox
from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.entities.options import SubscriptionOptions, TopicOptions
from polybus.localcloud.servicebus.refusal import ENTITY_ALREADY_EXISTS, NOT_FOUND, Refusal
from polybus.localcloud.servicebus.rules.properties import View
from polybus.localcloud.servicebus.rules.rule import CompiledRule, Rule
from polybus.localcloud.servicebus.rules.values import FilterError

__all__ = ["Subscription", "Topic"]


class Subscription(Mailbox):
    """A mailbox that gets what its rules select of one topic."""

    options: SubscriptionOptions

    def __init__(self, home: Home, topic: Topic, name: str, options: SubscriptionOptions) -> None:
        super().__init__(home, f"{topic.path}/Subscriptions/{name}", options)
        self.topic = topic
        self.name = name
        self.rules: dict[str, CompiledRule] = {}

    def put_rule(self, rule: Rule, *, replace: bool = False) -> None:
        """Add a rule, or replace one of that name; raise Refusal where its SQL or its name doesn't do."""
        key = rule.name.lower()
        if (key in self.rules) != replace:
            state = "does not exist" if replace else "already exists"
            condition = NOT_FOUND if replace else ENTITY_ALREADY_EXISTS
            raise Refusal(condition, f"The rule '{rule.name}' of '{self.path}' {state}.")
        self.rules[key] = CompiledRule(rule)

    def rule(self, name: str) -> Rule:
        found = self.rules.get(name.lower())
        if found is None:
            raise Refusal(NOT_FOUND, f"The rule '{name}' of '{self.path}' could not be found.")
        return found.rule

    def drop_rule(self, name: str) -> None:
        del self.rules[self.rule(name).name.lower()]

    def offer_copy(self, message: Message, view: View) -> None:
        """Take the copies that the rules select: one for all rules without action, one for each rule with one."""
        plain = False
        for compiled in self.rules.values():
            try:
                if not compiled.matches(view):
                    continue
                if compiled.action is None:
                    plain = True
                    continue
                copy = message.copy()
                compiled.apply(copy)
            except FilterError as error:
                self._filter_failed(message, compiled, error)
            else:
                self._take(copy)
        if plain:
            self._take(message.copy())
        self.pump()

    def _take(self, copy: Message) -> None:
        if self.sessions is not None and copy.session_id is None:
            self._bury(copy, DEAD_LETTERS, "Session ID is null.", "The subscription requires sessions.")
            return
        self.accept(copy)

    def _filter_failed(self, message: Message, compiled: CompiledRule, error: FilterError) -> None:
        if self.options.dead_letter_on_filter_error:
            self._bury(message, DEAD_LETTERS, "FilterEvaluationException", f"{compiled.rule.name}: {error}")


class Topic(Mailbox):
    """Copies what it accepts to its subscriptions; holds only what is scheduled."""

    options: TopicOptions

    def __init__(self, home: Home, path: str, options: TopicOptions) -> None:
        super().__init__(home, path, options)
        self.subscriptions: dict[str, Subscription] = {}

    def arrive(self, message: Message, now: float) -> None:
        ttl = self.options.default_ttl
        if ttl is not None and (message.ttl is None or ttl < message.ttl):
            message.ttl = ttl
        view = View(message)
        for subscription in self.subscriptions.values():
            subscription.offer_copy(message, view)

    def subscription(self, name: str) -> Subscription:
        found = self.subscriptions.get(name.lower())
        if found is None:
            raise Refusal(NOT_FOUND, f"The messaging entity '{self.path}/Subscriptions/{name}' could not be found.")
        return found
