"""The command line: `taskmanager dev | serve | migrate | maintain | doctor | openapi | user | key | log | webhooks`."""

import typer

from taskmanager.commands.accounts import (
    create_key,
    create_user,
    disable_user,
    enable_user,
    list_users,
    set_password,
)
from taskmanager.commands.describe import print_openapi
from taskmanager.commands.develop import dev, dev_server
from taskmanager.commands.doctor.command import examine
from taskmanager.commands.log import new_epoch
from taskmanager.commands.maintain import maintain
from taskmanager.commands.migrate import migrate
from taskmanager.commands.serve import serve
from taskmanager.commands.webhooks import resume
from taskmanager.embedded.temporary_postgres import TemporaryPostgres
from taskmanager.telemetry.logs import log_writer

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="A self-hosted task-management service.")
user_cli = typer.Typer(no_args_is_help=True, help="Manage accounts.")
key_cli = typer.Typer(no_args_is_help=True, help="Manage API keys.")
log_cli = typer.Typer(no_args_is_help=True, help="Manage the event log.")
webhooks_cli = typer.Typer(no_args_is_help=True, help="Manage webhooks.")
cli.add_typer(user_cli, name="user")
cli.add_typer(key_cli, name="key")
cli.add_typer(log_cli, name="log")
cli.add_typer(webhooks_cli, name="webhooks")

cli.command("dev")(dev)
cli.command("_dev-server", hidden=True)(dev_server)
cli.command("serve")(serve)
cli.command("migrate")(migrate)
cli.command("maintain")(maintain)
cli.command("doctor")(examine)
cli.command("openapi")(print_openapi)
user_cli.command("create")(create_user)
user_cli.command("list")(list_users)
user_cli.command("enable")(enable_user)
user_cli.command("disable")(disable_user)
user_cli.command("set-password")(set_password)
key_cli.command("create")(create_key)
log_cli.command("new-epoch")(new_epoch)
webhooks_cli.command("resume")(resume)


def main(begun: TemporaryPostgres | None = None) -> None:
    """Run the command line; `begun` is the database of `dev --ephemeral`."""
    try:
        cli(obj=begun)
    finally:
        log_writer.close()
