"""The clouds that polybus brings: one folder each, with the same rooms in all. Nothing outside of a folder names it.

What each offers is its `CLOUD`; `polybus.registry` finds these and those of other packages by the same entry points.
"""
