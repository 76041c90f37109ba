"""The command line: one small module for each command, imported when that command runs.

A module of a command has either `command`, a function that typer calls, or `app`, a `typer.Typer` of subcommands.
`main.COMMANDS` names them all. Whatever is slow to import (rich, the bus, a cloud's SDK) is imported inside functions.
"""
