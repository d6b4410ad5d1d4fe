"""Delta sync: what has changed since a cursor."""

from fastapi import FastAPI

from taskmanager.changes.dependencies import ChangesFeed, get_changes_feed
from taskmanager.changes.repository import ChangesReader
from taskmanager.changes.routes import router
from taskmanager.features import Feature


def prepare(app: FastAPI) -> None:
    """Give the application its feed, of the things that its features declare."""
    state = app.state
    entities = [entity for feature in state.features for entity in feature.entities]
    state.changes_feed = ChangesFeed(ChangesReader(entities, state.epochs), state.followers, state.tailer)


FEATURE = Feature(routers=(router,), prepare=prepare, provides={get_changes_feed: "changes_feed"})
