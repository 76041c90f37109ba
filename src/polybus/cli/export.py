"""`polybus export`: the same topology, and its plan, in the words of other tools."""

from __future__ import annotations

import typer

from polybus.cli import export_asyncapi, export_jsonschema, export_running, export_terraform
from polybus.registry import each

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("terraform")(export_terraform.command)
app.command("asyncapi")(export_asyncapi.command)
app.command("jsonschema")(export_jsonschema.command)
for _platform in dict.fromkeys(name for cloud in each("running") for name in cloud.runs_on):
    app.command(_platform)(export_running.command_for(_platform))
