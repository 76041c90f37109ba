"""The suite on the local AWS and Google over TLS: publishing by default, all of it with POLYBUS_SOAK_SCALE=1."""

from __future__ import annotations

import os

from polybus.testing.conformance import Conformance, Publishing

from .rig_tls import AwsOverTls, GcpOverTls

WHOLE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02")) >= 1
Themes: type = Conformance if WHOLE else Publishing


class TestAwsOverTls(Themes):  # type: ignore[misc] # chosen above
    rig = AwsOverTls


class TestGcpOverTls(Themes):  # type: ignore[misc] # chosen above
    rig = GcpOverTls
