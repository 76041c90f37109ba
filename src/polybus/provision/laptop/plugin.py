"""Serve a stand-in for a cloud's provider to Pulumi's engine: `python -P -m polybus.provision.laptop.plugin PACKAGE`.

Like every plugin it prints the port that it serves on as its first line; the engine's address, its last argument,
isn't needed.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from polybus.provision.laptop.cloud import Laptop, laptop_of_package, laptops
from polybus.provision.laptop.provider import LocalProvider

__all__ = ["main", "serve"]


def serve(provider: LocalProvider) -> None:
    """Serve a provider until the engine, or a signal, ends it."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: provider.cancelled.set())
    server = grpc.server(ThreadPoolExecutor(8, thread_name_prefix="plugin"))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    provider.cancelled.wait()
    server.stop(1).wait()


def main(package: str, provider: Callable[[Laptop], LocalProvider] = LocalProvider) -> int:
    """Serve the provider of a package, and return the exit code."""
    laptop = laptop_of_package(package)
    if laptop is None:
        allowed = ", ".join(laptop.package for _, laptop in laptops())
        print(f"found the package {package!r}; allowed: {allowed}", file=sys.stderr)
        return 2
    serve(provider(laptop))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
