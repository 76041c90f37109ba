"""Bodies and attributes that only who has the key can read, whatever a queue, its operators or its logs show.

    encryption = Encryption(keys=ring.__getitem__, current="2026-11", context="shop", clear=("region",))

    async with polybus.connect(middleware=[encryption]) as bus:
        await bus.publish("orders", order, attributes={"region": "eu", "customer": "c7"})

AES-256-GCM by `cryptography`. docs/encryption.md is for its users, docs/wire.md for who reads such messages without
polybus.
"""

from polybus.encryption.middleware import Encryption
from polybus.encryption.sealed import DecryptionFailed

__all__ = ["DecryptionFailed", "Encryption"]
