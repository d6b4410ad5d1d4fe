"""Reads what has changed for a user, page by page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from taskmanager.changes.statements import page_of_all, page_of_children, page_of_log
from taskmanager.database.reads import Reads
from taskmanager.errors import CursorExpiredError, InvalidCursorError
from taskmanager.events.followed import FollowedEntity
from taskmanager.field_types import MAXIMUM_ID
from taskmanager.following.epochs import Epochs
from taskmanager.following.positions import START, Epoch, Position, is_loading

_ALL = ""
_PROJECT = "project"


@dataclass(frozen=True)
class Filters:
    """Of what a user wants to learn, empty for everything."""

    user_id: int
    project_ids: tuple[int, ...] = ()
    entities: tuple[str, ...] = ()

    @property
    def binding(self) -> str:
        """What a cursor of something that is being loaded belongs to."""
        return json.dumps([self.user_id, sorted(set(self.project_ids)), sorted(set(self.entities))])

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the statements."""
        return {
            "user_id": self.user_id,
            "project_ids": list(self.project_ids) or None,
            "entities": list(self.entities) or None,
        }


class Loading(NamedTuple):
    """What is being loaded, everything or what belongs to one thing, and the last row that was.

    `entity` is "" for everything, else the kind of the thing.
    """

    entity: str
    id: int
    project_id: int
    after_entity: str
    after_id: int


class Changes(NamedTuple):
    """A page: JSON objects with commas between, and whether it is worth asking for the next.

    `visible` are the projects that the user sees, known where the log was read.
    """

    items: bytes
    cursor: str
    has_more: bool
    visible: Sequence[int] = ()


class ChangesReader:
    """Reads changes of the things that features declare; one per application."""

    def __init__(self, entities: Sequence[FollowedEntity], epochs: Epochs) -> None:
        # Parents come first: a client may rely on it that a task is there before its comments.
        self._entities = {entity.name: entity for entity in entities}
        self._ranks = {entity.name: rank for rank, entity in enumerate(entities)}
        self._epochs = epochs
        self._log = page_of_log(entities)
        self._everything = page_of_all(entities)
        self._children = {
            parent.name: page_of_children(parent, entities)
            for parent in entities
            if any(entity.parent == parent.name for entity in entities)
        }

    @property
    def entities(self) -> Sequence[str]:
        """The names of what can be followed."""
        return list(self._entities)

    async def page(self, reads: Reads, since: str | None, limit: int, filters: Filters) -> Changes:
        """Return the page after a cursor, or the first page of everything.

        Raises:
            InvalidCursorError: The cursor was bent, or belongs to another user or other filters.
            CursorExpiredError: It belongs to another epoch, what followed is not kept, or it has not happened here.
        """
        if since is None:
            everything = Loading(_ALL, 0, 0, "", 0)
            try:
                return await self._load(reads, await self._epochs.current(), everything, None, limit, filters)
            except CursorExpiredError:  # another epoch has started, which is known by now
                return await self._load(reads, await self._epochs.current(), everything, None, limit, filters)
        epoch = await self._epochs.of_cursor(since)
        if not is_loading(since):
            return await self._read_log(reads, epoch, epoch.read(since), limit, filters)
        position, state = epoch.read_loading(since, filters.binding)
        return await self._load(reads, epoch, Loading(*state), position, limit, filters)

    async def _read_log(self, reads: Reads, epoch: Epoch, position: Position, limit: int, filters: Filters) -> Changes:
        row = await reads.one(
            self._log,
            **filters.parameters,
            limit=limit,
            era=position.era,
            xid=str(position.xid),
            event_id=position.id,
        )
        assert row is not None  # `event_log` has one row
        await self._check_epoch(row, epoch)
        if row["is_below_floor"]:
            raise CursorExpiredError("retention")
        if row["is_ahead"]:
            raise CursorExpiredError("ahead")
        if row["event_id"] is not None:
            position = Position(row["era"], row["xid"], row["event_id"])
        items = row["items"] or b""
        visible = row["visible"] or ()
        if row["gained"] is None:
            return Changes(items, epoch.write(position), row["has_more"], visible)
        of_project = row["gained_id"] if row["gained"] == _PROJECT else 0
        loading = Loading(row["gained"], row["gained_id"], of_project, "", 0)
        return Changes(items, epoch.write_loading(position, loading, filters.binding), has_more=True, visible=visible)

    async def _load(
        self,
        reads: Reads,
        epoch: Epoch,
        loading: Loading,
        position: Position | None,
        limit: int,
        filters: Filters,
    ) -> Changes:
        """Return a page of what is being loaded; the log is read from `position`, if that is known already."""
        after = {"rank": self._rank(loading.after_entity), "after_id": loading.after_id, "limit": limit}
        if loading.entity in {_ALL, _PROJECT}:
            row = await reads.one(
                self._everything,
                **filters.parameters,
                **after,
                from_project_id=loading.project_id,
                last_project_id=loading.project_id if loading.entity else MAXIMUM_ID,
            )
        elif (statement := self._children.get(loading.entity)) is not None:
            row = await reads.one(statement, **filters.parameters, **after, parent_id=loading.id)
        else:
            raise InvalidCursorError
        assert row is not None  # an aggregate always gives a row
        await self._check_epoch(row, epoch)
        if position is None:
            # The log may be empty.
            position = START if row["event_id"] is None else Position(row["era"], row["xid"], row["event_id"])
        items = row["items"] or b""
        if not row["has_more"]:
            # What happened while everything was loaded need not be there yet.
            return Changes(items, epoch.write(position), has_more=True)
        last = Loading(
            loading.entity,
            loading.id,
            row["last_project_id"],
            list(self._ranks)[row["last_rank"]],
            row["last_id"],
        )
        return Changes(items, epoch.write_loading(position, last, filters.binding), has_more=True)

    def _rank(self, name: str) -> int:
        if not name:
            return 0
        if name not in self._ranks:
            raise InvalidCursorError
        return self._ranks[name]

    async def _check_epoch(self, row: asyncpg.Record, epoch: Epoch) -> None:
        if row["is_outdated"] or row["epoch"] != epoch.id:
            await self._epochs.look(epoch)
            raise CursorExpiredError("epoch")
