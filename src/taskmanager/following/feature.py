"""The event log for those who follow it: its epoch, and news of it."""

import structlog
from fastapi import FastAPI

from taskmanager.database.driver_errors import DATABASE_ERRORS, is_transient
from taskmanager.features import Feature
from taskmanager.following.epochs import Epochs
from taskmanager.following.followers import Followers
from taskmanager.following.retention import DELETE_EVENTS, MOVE_FLOOR
from taskmanager.following.tailer import Tailer


def prepare(app: FastAPI) -> None:
    """Give the application what followers share, and its metrics."""
    state = app.state
    state.epochs = Epochs(state.reads, state.writes)
    state.followers = Followers(state.settings.max_streams, state.settings.max_streams_per_user)
    entities = [entity for feature in state.features for entity in feature.entities]
    state.tailer = Tailer(state.reads, state.epochs, state.followers, entities)
    state.writes.on_commit.append(state.tailer.notice_commit)
    state.drain.on_start.append(state.followers.close)
    gauge = state.metrics.watch_gauge
    gauge(
        "streams", "Streams of events and requests that wait for news of the event log.", lambda: len(state.followers)
    )
    gauge("event_log_lag_seconds", "Age of the oldest event that was not read yet.", lambda: state.tailer.lag_seconds)
    gauge(
        "event_log_horizon_age_seconds",
        "For how long a transaction has kept followers from what is behind it.",
        lambda: state.tailer.horizon_age_seconds,
    )


async def look_for_epoch(app: FastAPI) -> None:
    """Start another epoch of the log if it is not the one that it was.

    Where the database does not let it now, the first that follows the log does.
    """
    try:
        await app.state.epochs.look()
    except DATABASE_ERRORS as error:
        if not is_transient(error):
            raise
        structlog.stdlib.get_logger("taskmanager.following").warning(
            "the epoch of the event log is not known yet", cause=f"{type(error).__name__}: {error}"[:300]
        )


async def follow_log(app: FastAPI) -> None:
    """Read the end of the log while anybody waits for it."""
    await app.state.tailer.run()


FEATURE = Feature(prepare=prepare, start=look_for_epoch, background=(follow_log,), jobs=(MOVE_FLOOR, DELETE_EVENTS))
