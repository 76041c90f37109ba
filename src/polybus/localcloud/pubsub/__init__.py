"""A local Google Pub/Sub: the gRPC services that an unmodified google-cloud-pubsub reaches.

Set what `PubsubServer.env()` returns (PUBSUB_EMULATOR_HOST above all) and the library talks to it.

Delivery
    At least once. A lease that ended is not renewed by a late ack: the message comes again, and its old ack id does
    nothing, or fails where the subscription is exactly-once. Delivery attempts are 1 + nacks + ended leases.

Ordering
    The messages of one key go to one consumer at a time, in the order of their publishing. A stream may hold several of
    them, a unary pull one batch, a push endpoint one. A redelivery brings the later messages of its key again, those
    that were acked meanwhile included.

Durability, with a data folder
    Publish, the unary acks and every change of a resource are answered once they are on disk. Acks that come on a
    stream are written at once but not waited for: a crash within one write to disk (some 10 ms) after such an ack
    brings the message again. On an exactly-once subscription the confirmation comes after the write. Leases don't
    survive a restart: what was out is delivered again at once.

Rights
    Callers are never authenticated, and may do everything. One right is enforced, because its absence loses letters
    without a word: dead letters are forwarded only where the Pub/Sub service agent may publish to the dead-letter topic
    and consume from the source subscription, in the policies set by SetIamPolicy. Until then a message is redelivered
    beyond its limit, as on Google. `PubsubServer(enforce_iam=False)` lifts it.

Schemas
    Avro and Protocol Buffers, with revisions; a topic's messages are checked by those that its settings allow. Whether
    a revision is compatible with those before it isn't checked.

Export
    Subscriptions to BigQuery, Cloud Storage and Bigtable are checked, kept and shown, and collect their messages;
    nothing is written anywhere.

Not here, and refused with UNIMPLEMENTED
    Message transforms, ingestion, and conditions in policies.
"""

from polybus.localcloud.pubsub.server import PubsubServer

__all__ = ["PubsubServer"]
