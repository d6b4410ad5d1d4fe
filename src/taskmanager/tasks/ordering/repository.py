"""Puts tasks into another order."""

import json
from typing import Any, NamedTuple

import asyncpg

from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.database.writes import TransactionRunner, WriteRunner, Written
from taskmanager.errors import InvalidValueError, NotFoundError
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.ordering.keys import key_between, renew_keys
from taskmanager.projects.access import require_writer
from taskmanager.tasks.ordering.schemas import TaskMove
from taskmanager.tasks.ordering.statements import (
    AROUND,
    BEFORE_NEIGHBOUR,
    BEHIND_NEIGHBOUR,
    FIRST,
    LAST,
    LOCK,
    PLACE,
    PLACE_AT_ONCE,
)
from taskmanager.tasks.outcomes import named_violations, require_written

# Places are seldom taken twice, and who locks the order keeps all others waiting.
_TRIES = 2


class _Gap(NamedTuple):
    """Where a task goes: the keys before and behind that, None at an end, and its own key."""

    low: str | None
    high: str | None
    own: str

    def key_for(self, task_id: int) -> str | None:
        """Return the key that the task gets, its own if it is there already; None where keys have to be renewed."""
        if (self.low is None or self.low < self.own) and (self.high is None or self.own < self.high):
            return self.own
        return key_between(self.low, self.high, task_id)


class TaskOrderWriter:
    """Puts tasks to other places."""

    def __init__(self, writes: WriteRunner, reads: Reads) -> None:
        self._writes = writes
        self._reads = reads

    async def move(self, task_id: int, move: TaskMove, *, user_id: int, condition: IfMatch = NO_CONDITION) -> Written:
        """Put a task to another place in its project, and into another section or status, and return it.

        Where there is no room for a short key, up to 100 tasks around it get new keys, each with version and event.
        Without any difference nothing is written.

        Raises:
            NotFoundError: There is no such task, or no such neighbour, that the caller may see.
            InvalidValueError: The neighbour is in another project or is the task itself, or the section is in none of
                the project's.
            RoleTooLowError: The caller may only read the project.
            ProjectArchivedError: It is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: The task is at another version than the condition names.
        """
        if move.neighbour_id == task_id:
            raise InvalidValueError(("body", move.neighbour_field), "is the task itself")
        row = None
        for _ in range(_TRIES):
            write = await self._prepare(task_id, move, user_id=user_id, condition=condition)
            if write is None:
                break
            row = await self._move_at_once(write)
            if row is not None:
                break
        if row is None or not row["done"]:
            row = await self._move_in_turn(task_id, move, user_id=user_id, condition=condition)
        return Written(row["id"], row["version"], row["body"])

    async def _prepare(
        self, task_id: int, move: TaskMove, *, user_id: int, condition: IfMatch
    ) -> dict[str, Any] | None:
        """Return the values of `PLACE_AT_ONCE`, or None if the move takes more or is refused.

        What is wrong with a request is left to `_move_in_turn`, which answers copies of it with what was kept.
        """
        found = await self._reads.one(_places(move), task_id=task_id, user_id=user_id, **_neighbour(move))
        if found is None or (move.neighbour_id is not None and found["near_project_id"] != found["project_id"]):
            return None
        gap = _gap(found, move)
        key = gap.key_for(task_id)
        if key is None:
            return None
        patch = _patch(found, move)
        if key != gap.own:
            patch["position"] = key
        seen = {task_id: gap.own, found["near_id"]: found["near_key"], found["beyond_id"]: found["beyond_key"]}
        seen.pop(None, None)
        return {
            "task_id": task_id,
            "project_id": found["project_id"],
            "user_id": user_id,
            "patch": json.dumps(patch),
            "versions": condition.versions,
            "seen_ids": list(seen),
            "seen_keys": list(seen.values()),
            "low": gap.low,
            "high": gap.high,
        }

    async def _move_at_once(self, values: dict[str, Any]) -> asyncpg.Record | None:
        """Move a task to a place that was free; return None if it is not any more, or somebody changes what is near."""
        try:
            return await self._writes.one(PLACE_AT_ONCE, **values)
        except asyncpg.ForeignKeyViolationError:
            return None  # the section, perhaps the neighbour's, is not there any more

    async def _move_in_turn(self, task_id: int, move: TaskMove, *, user_id: int, condition: IfMatch) -> asyncpg.Record:
        """Move a task while nobody else moves one in its project."""
        async with self._writes.transaction() as run:
            row = await run.one(LOCK, task_id=task_id, user_id=user_id)
            if row is None:
                raise NotFoundError("task")
            project_id: int = row["project_id"]
            found = await run.one(_places(move), task_id=task_id, user_id=user_id, **_neighbour(move))
            if found is None or found["project_id"] != project_id:  # deleted or moved to another project meanwhile
                raise NotFoundError("task")
            if move.neighbour_id is not None:
                if found["near_id"] is None:
                    raise NotFoundError("task")
                if found["near_project_id"] != project_id:
                    raise InvalidValueError(("body", move.neighbour_field), "is in another project")
            require_writer(row["role"], archived=row["archived"])  # who may not write has locked nothing
            keys = await _new_keys(run, _gap(found, move), task_id, project_id)
            patch = _patch(found, move)
            if task_id in keys:
                patch["position"] = keys.pop(task_id)
            others = [{"position": key} for key in keys.values()]
            with named_violations():
                row = await run.last(
                    PLACE,
                    task_id=task_id,
                    moved_ids=[task_id, *keys],
                    patches=[json.dumps(one) for one in (patch, *others)],
                    project_id=project_id,
                    user_id=user_id,
                    versions=condition.versions,
                )
            return await require_written(run, row, condition, user_id)


def _places(move: TaskMove) -> Statement:
    if move.neighbour_id is None:
        return LAST if move.follows_neighbour else FIRST
    return BEHIND_NEIGHBOUR if move.follows_neighbour else BEFORE_NEIGHBOUR


def _neighbour(move: TaskMove) -> dict[str, int]:
    return {} if move.neighbour_id is None else {"neighbour_id": move.neighbour_id}


def _gap(found: asyncpg.Record, move: TaskMove) -> _Gap:
    near, beyond, own = found["near_key"], found["beyond_key"], found["own_key"]
    return _Gap(near, beyond, own) if move.follows_neighbour else _Gap(beyond, near, own)


def _patch(found: asyncpg.Record, move: TaskMove) -> dict[str, Any]:
    """Return what changes with the place: without a section in the move, it is the neighbour's."""
    patch = move.model_dump(mode="json", include={"section_id", "status"}, exclude_unset=True)
    if move.neighbour_id is not None:
        patch.setdefault("section_id", found["section_id"])
    return patch


async def _new_keys(run: TransactionRunner, gap: _Gap, task_id: int, project_id: int) -> dict[int, str]:
    """Return the keys that tasks get, by their ids, none if the task is there."""
    key = gap.key_for(task_id)
    if key is not None:
        return {} if key == gap.own else {task_id: key}
    around = await run.all(AROUND, task_id=task_id, project_id=project_id, low=gap.low, high=gap.high)
    before = [(row["id"], row["key"]) for row in around if row["is_before"]]
    after = [(row["id"], row["key"]) for row in around if not row["is_before"]]
    return renew_keys(before, task_id, after)
