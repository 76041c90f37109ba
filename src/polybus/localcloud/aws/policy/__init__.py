"""Policies: their documents, and whether one allows a request."""
