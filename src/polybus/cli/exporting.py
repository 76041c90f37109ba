"""OpenTelemetry's providers for `polybus run --otel`, as the OTEL_* variables say, where the apps have set none."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from polybus.installed import requirement

__all__ = ["export"]

_log = logging.getLogger("polybus")

# The specification's default (OpenTelemetry, "OTLP exporter configuration").
_PROTOCOL = "http/protobuf"
_SIGNALS = ("traces", "metrics")


def export(services: Sequence[str]) -> None:
    """Set the global providers of traces and metrics; log one line, of what is sent or why nothing is.

    Where an app has set one, the other is only set if the environment names its exporter: the app sees to it itself.
    The resource's service.name is that of the services, unless the environment has one.
    """
    why = _why_nothing()
    if why is not None:
        _log.warning("OpenTelemetry: nothing is sent: %s", why)
        return
    theirs = [signal for signal in _SIGNALS if _is_set(signal)]
    ours = [signal for signal in _SIGNALS if signal not in theirs and (not theirs or _variable(signal) in os.environ)]
    sent: list[str] = []
    missing: list[str] = []
    for signal in ours:
        found = _exporters(signal, missing)
        sent += [f"{signal} by {name}" for name in found]
        if found:
            (_send_traces if signal == "traces" else _send_metrics)(list(found.values()), services)
    for text in missing:
        _log.warning("OpenTelemetry: %s", text)
    if sent:
        _log.info("OpenTelemetry: %s, as service %r", ", ".join(sent), _service_name(services))
    elif not theirs and not missing:
        _log.warning("OpenTelemetry: nothing is sent: %s are `none`", " and ".join(map(_variable, ours)))


def _why_nothing() -> str | None:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "OTEL_SDK_DISABLED is set"
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        return f"its SDK is not installed: pip install {requirement('otel')}"
    return None


def _variable(signal: str) -> str:
    return f"OTEL_{signal.upper()}_EXPORTER"


def _is_set(signal: str) -> bool:
    """Tell whether an app, or what it runs in, has set a provider: until then the API has a stand-in of its own."""
    if signal == "traces":
        provider: object = import_module("opentelemetry.trace").get_tracer_provider()
    else:
        provider = import_module("opentelemetry.metrics").get_meter_provider()
    return not type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))


def _send_traces(exporters: Sequence[Any], services: Sequence[str]) -> None:
    sdk, export = import_module("opentelemetry.sdk.trace"), import_module("opentelemetry.sdk.trace.export")
    provider = sdk.TracerProvider(resource=_resource(services))
    for exporter in exporters:
        provider.add_span_processor(export.BatchSpanProcessor(exporter()))
    import_module("opentelemetry.trace").set_tracer_provider(provider)


def _send_metrics(exporters: Sequence[Any], services: Sequence[str]) -> None:
    sdk, export = import_module("opentelemetry.sdk.metrics"), import_module("opentelemetry.sdk.metrics.export")
    # Prometheus' is a reader itself: it is asked, and doesn't send.
    readers = [
        exporter() if issubclass(exporter, export.MetricReader) else export.PeriodicExportingMetricReader(exporter())
        for exporter in exporters
    ]
    provider = sdk.MeterProvider(metric_readers=readers, resource=_resource(services))
    import_module("opentelemetry.metrics").set_meter_provider(provider)


def _exporters(signal: str, missing: list[str]) -> dict[str, Any]:
    """Return the classes of the exporters that the environment asks for, OTLP's where it says nothing, by name.

    What isn't installed is added to `missing`, with what to do.
    """
    from importlib.metadata import entry_points

    given = [name.strip() for name in os.environ.get(_variable(signal), "").split(",") if name.strip()]
    found: dict[str, Any] = {}
    for name in given or ["otlp"]:
        if name == "none":
            continue
        protocol = (
            os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or _PROTOCOL
        )
        wanted = f"otlp_proto_{protocol.partition('/')[0]}" if name == "otlp" else name
        points = [*entry_points(group=f"opentelemetry_{signal}_exporter", name=wanted)]
        if points:
            found[f"OTLP ({protocol})" if name == "otlp" else name] = points[0].load()
        else:
            ours = wanted == "otlp_proto_http"
            install = requirement("otel") if ours else f"opentelemetry-exporter-{wanted.replace('_', '-')}"
            missing.append(f"no {signal} are sent by {wanted!r}, which is not installed: pip install {install}")
    return found


def _resource(services: Sequence[str]) -> Any:
    resources = import_module("opentelemetry.sdk.resources")
    return resources.Resource.create({"service.name": _service_name(services)})


def _service_name(services: Sequence[str]) -> str:
    """Return what the environment says, or the names of the services that this process runs."""
    if named := os.environ.get("OTEL_SERVICE_NAME"):
        return named
    pairs = (pair.partition("=") for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    named = next((value.strip() for name, _, value in pairs if name.strip() == "service.name"), "")
    return named or "+".join(services) or "polybus"
