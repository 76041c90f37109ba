"""The local provider plugins, which refuse what a test wants refused: `refusing.py PACKAGE`.

The file that POLYBUS_PLUGIN_REFUSES names has the logical names of the resources that can't be made.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import grpc

from polybus.provision.laptop.plugin import main
from polybus.provision.laptop.provider import LocalProvider


class RefusingProvider(LocalProvider):
    def Create(self, request: Any, context: Any) -> Any:
        name = request.urn.split("::", 3)[3]
        if not request.preview and name in _refused():
            context.abort(grpc.StatusCode.UNKNOWN, f"{name}: refused, as the test wants it")
        return super().Create(request, context)


def _refused() -> list[str]:
    path = Path(os.environ.get("POLYBUS_PLUGIN_REFUSES", os.devnull))
    return path.read_text().split() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], RefusingProvider))
