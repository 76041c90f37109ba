"""A local SNS and SQS that unmodified AWS SDKs reach by endpoint URL.

`server` is the life cycle, `http` and `wire` the protocols, `sqs` and `sns` the entities and what they do, `policy` who
may do it. Where a choice was open, it is the stricter one: what passes here is meant to pass on AWS.

Differs from AWS on purpose: signatures are read, not verified (the server knows no secret keys); calls count as made
over TLS (`aws:SecureTransport` is true: they stay on this machine); the name of a deleted queue may be used again at
once; changes take effect at once; a long poll whose client hung up is handed nothing (what was already handed to a
dead socket stays invisible until its timeout, as on AWS); what SNS delivers is signed with a key of the server's own,
whose certificate it serves; subscriptions of other protocols than sqs, http and https are kept, and get nothing.
"""
