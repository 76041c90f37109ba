"""Rigs of the embedded backends; those of the clouds stand beside their local servers' tests."""
