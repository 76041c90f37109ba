"""Servers that speak the clouds' own protocols, so that the clouds' own client libraries reach them unmodified.

They are referees: nothing here shares a filter, a policy or wire code with the backends that are tested against it.
"""
