"""Connections, sessions, links and requests: AMQP on one side, entities on the other."""
