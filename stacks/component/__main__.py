"""Serves the component to Pulumi's engine: `pulumi package add <this folder>` from a program in any language."""

from pulumi.provider.experimental import component_provider_host

from polybus import __version__
from polybus.provision.plugin import MessageBus

if __name__ == "__main__":
    component_provider_host(name="polybus", components=[MessageBus], version=__version__)
