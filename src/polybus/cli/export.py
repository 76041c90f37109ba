"""`polybus export`: the same plan in the words of other tools."""

from __future__ import annotations

import typer

from polybus.cli import export_terraform

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("terraform")(export_terraform.command)
