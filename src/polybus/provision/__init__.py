"""Pulumi: a component that turns a topology into a cloud's resources, and what stack programs need beside it."""

from polybus.provision.bus import MessageBus
from polybus.provision.reference import binding_of
from polybus.provision.stack import from_config

__all__ = ["MessageBus", "binding_of", "from_config"]
