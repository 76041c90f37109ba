"""Pulumi: a component that turns a topology into a cloud's resources, and what stack programs need beside it."""

from importlib.util import find_spec

from polybus.errors import MissingExtra

if find_spec("pulumi") is None:  # asked first, so that its absence says which extras have it
    raise MissingExtra("pulumi (in the extras aws-stack, azure-stack and gcp-stack)", "aws-stack")

from polybus.provision.bus import MessageBus
from polybus.provision.reference import binding_of
from polybus.provision.stack import from_config

__all__ = ["MessageBus", "binding_of", "from_config"]
