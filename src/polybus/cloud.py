"""A cloud as polybus knows it: its name, and where each of its parts is. Nothing is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from polybus.errors import ConfigError, MissingExtra, UnsupportedFeature

__all__ = ["INTERFACE", "TARGETS", "Cloud"]

INTERFACE = 1
"""The version of what this module, `polybus.driver` and `polybus.plan.planning` ask of a cloud.

A change that a cloud written to the last version would not survive makes it one more; a cloud of another version is
refused when it is loaded, with both numbers.
"""

TARGETS = ("topics", "ordered topics", "queues", "ordered queues")
"""What can be published to, of which a cloud may be able to delay messages on some."""

_WHAT = {
    "driver": "a driver",
    "planning": "a plan: nothing to check, plan or provision",
    "provider": "a Pulumi provider: nothing to provision",
    "live": "a way to read what is there",
    "local": "a local server",
    "laptop": "a stand-in for its Pulumi provider: no stack on this machine",
    "reference": "a place for bindings",
    "terraform": "a Terraform provider: nothing to export",
    "running": "a platform that services run on: nothing to export",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What an installed package offers under the entry point group `polybus.clouds`.

    Parts are places, `package.module:attribute`; "" is a part that the cloud doesn't have, and who asks for it is told
    so. A driver alone is enough to publish and consume.

    `driver` is a `polybus.driver.DriverFactory`; `planning` a `polybus.plan.planning.Planning`: check, plan and diff;
    `provider` a `polybus.provision.cloud.Provider`: Pulumi; `live` a `polybus.plan.planning.Live`, check --live;
    `local` a `polybus.plan.planning.Local`: local up and torture; `laptop` a `polybus.provision.laptop.cloud.Laptop`:
    up --local; `terraform` a `polybus.plan.terraform.model.Terraform`: export terraform; `running` a
    `polybus.plan.run.model.Running`: export of what runs services, on one of `runs_on`. `reference(text)` reads a
    binding's JSON where a reference says, which begins with one of `schemes` and a colon, and raises BindingError where
    it can't.

    `title` is the name that people know. `packages` are the modules whose absence means that the cloud's SDK isn't
    installed, each with what it is installed as, and `extra` the extra of polybus that brings them, "" for a cloud of
    another package. `loggers` are the names of the loggers of its libraries. `system` is OpenTelemetry's
    `messaging.system`, `topic_system` that of topics where it is another. `no_delay_on` are those of TARGETS on which
    the cloud may refuse delays (contract, P8); the conformance kit lets it refuse no others. `function` says what names
    a function there, for people. `platforms` are the variables that platforms set for what runs on them and nowhere
    else, each with the platform's name; NAME=TEXT is one whose value begins with a text.
    """

    name: str
    title: str
    driver: str
    planning: str = ""
    provider: str = ""
    live: str = ""
    local: str = ""
    laptop: str = ""
    reference: str = ""
    schemes: tuple[str, ...] = ()
    terraform: str = ""
    running: str = ""
    runs_on: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    extra: str = ""
    loggers: tuple[str, ...] = ()
    system: str = ""
    topic_system: str = ""
    no_delay_on: tuple[str, ...] = TARGETS
    function: str = ""
    platforms: Mapping[str, str] = field(default_factory=dict)
    interface: int = INTERFACE

    def offers(self, part: str) -> bool:
        """Say whether the cloud has a part, by the name of its field."""
        return bool(getattr(self, part))

    def load(self, part: str) -> Any:
        """Import a part, by the name of its field, and return it.

        Raises UnsupportedFeature for a part that the cloud doesn't have, MissingExtra where its SDK isn't installed,
        and ConfigError where the place isn't there.
        """
        place: str = getattr(self, part)
        if not place:
            raise UnsupportedFeature(f"the {self.name} backend has no {_WHAT[part].removeprefix('a ')}")
        module, _, attribute = place.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            missing = self.packages.get((error.name or "").partition(".")[0])
            if missing is None:
                raise ConfigError(f"{self.name}: {place!r} can't be loaded: {error}") from error
            what = f"the {self.name} backend needs {missing}, which"
            raise MissingExtra(what, self.extra, install="" if self.extra else missing) from error
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{self.name}: {place!r} can't be loaded: {error}") from error
