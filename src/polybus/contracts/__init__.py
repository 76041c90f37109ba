"""Contracts: what messages of a topic or queue look like, and which changes of that break somebody.

Nothing here is loaded by a service whose topology declares no schema.
"""
