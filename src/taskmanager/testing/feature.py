"""What only an ephemeral instance has: routes for tests, faults on demand, cheap hashes and short tokens."""

from functools import partial
from importlib import import_module

from fastapi import FastAPI

from taskmanager.database.checks import table_modules
from taskmanager.database.database import Base
from taskmanager.features import Feature
from taskmanager.following.epochs import start_epoch
from taskmanager.testing.faults import inject_fault
from taskmanager.testing.repository import ResetWriter
from taskmanager.testing.routes import router

# What positions in the event log belong to comes with the schema.
_KEPT = {"event_log"}


def feature_for_tests(*, access_token_seconds: int | None = None) -> Feature:
    """Return the feature; with `access_token_seconds`, all access tokens live for so long."""
    prepare = partial(_prepare, access_token_seconds=access_token_seconds)
    return Feature(routers=(router,), prepare=prepare, start=_begin_anew, admit=inject_fault)


def _prepare(app: FastAPI, *, access_token_seconds: int | None) -> None:
    for module in table_modules():
        import_module(module)
    app.state.reset_writer = ResetWriter(
        [table.name for table in Base.metadata.sorted_tables if table.name not in _KEPT]
    )
    app.state.password_hasher.cheapen()
    if access_token_seconds is not None:
        app.state.token_signer.access_token_seconds = access_token_seconds


async def _begin_anew(app: FastAPI) -> None:
    # The database may be a copy, whose other copies have the same epoch.
    await start_epoch(app.state.writes)
    await app.state.epochs.look()
