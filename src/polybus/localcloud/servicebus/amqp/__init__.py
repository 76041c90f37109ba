"""AMQP 1.0 as far as a Service Bus server needs it: types, performatives, message sections.

Source of every code and layout: OASIS AMQP Version 1.0, parts 1 (types), 2 (transport), 3 (messaging) and 5 (SASL).
"""
