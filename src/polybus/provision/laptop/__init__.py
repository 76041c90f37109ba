"""A stack on this machine: Pulumi's own engine and the real program, with the clouds' local servers for clouds.

`plugin` is what the engine takes for a cloud's provider, `language` what runs programs in Python for it.
"""
