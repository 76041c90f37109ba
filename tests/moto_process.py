"""moto, in a process of its own: where it is imported, it hooks itself into every boto3 client of that process.

Calls without boto3 then step aside, as they do for whatever changes requests: nothing else would be tested beside it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["moto"]

_SERVE = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

# One request at a time: DynamoDB looks at a condition and changes an item in one step, moto in two.
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.port, flush=True)
server.serve_forever()
"""


@contextmanager
def moto() -> Iterator[str]:
    """Serve AWS's APIs as moto knows them, for the length of the block; give the URL."""
    command = [sys.executable, "-c", _SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
