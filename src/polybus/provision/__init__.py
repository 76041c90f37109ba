"""Pulumi: a component that turns a topology into a cloud's resources, and what stack programs need beside it."""

try:
    import pulumi as _pulumi  # noqa: F401 - first of all, so that its absence says which extra has it
except ModuleNotFoundError as error:
    if error.name != "pulumi":
        raise
    from polybus.errors import MissingExtra

    raise MissingExtra("pulumi (in the extras aws-stack, azure-stack and gcp-stack)", "aws-stack") from error

from polybus.provision.bus import MessageBus
from polybus.provision.reference import binding_of
from polybus.provision.stack import from_config

__all__ = ["MessageBus", "binding_of", "from_config"]
