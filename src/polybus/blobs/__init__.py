"""Bodies that are too large for a message: they go to an object store, and the message says where they are.

    blobs = Blobs("s3://shop-bodies", bus="shop", over="200KiB")

    async with polybus.connect(middleware=[blobs]) as bus:
        await bus.publish("scans", page)                          # above 200 KiB the body is an object of its own
        await bus.publish("models", await blobs.put(Path("weights.bin")))     # a Blob: streamed, whatever its size

docs/large-bodies.md is for its users, docs/wire.md for who reads such messages without polybus.
"""

from polybus.blobs.blob import Blob, BlobRefused
from polybus.blobs.middleware import Blobs
from polybus.blobs.store import Store

__all__ = ["Blob", "BlobRefused", "Blobs", "Store"]
