"""Puts tasks into another order."""

import json
from typing import Any

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
)
from taskmanager.tasks.outcomes import named_violations, require_written


class TaskOrderWriter:
    """Puts tasks to other places."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

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
        async with self._writes.transaction() as run:
            row = await run.one(LOCK, task_id=task_id, user_id=user_id)
            if row is None:
                raise NotFoundError("task")
            project_id: int = row["project_id"]
            patch = move.model_dump(mode="json", include={"section_id", "status"}, exclude_unset=True)
            keys = await _find_place(run, task_id, move, patch, project_id=project_id, user_id=user_id)
            require_writer(row["role"], archived=row["archived"])  # who may not write has locked nothing
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
            row = await require_written(run, row, condition, user_id)
        return Written(row["id"], row["version"], row["body"])


async def _find_place(
    run: TransactionRunner, task_id: int, move: TaskMove, patch: dict[str, Any], *, project_id: int, user_id: int
) -> dict[int, str]:
    """Return the keys that tasks get, by their ids, none if the task is there; add the neighbour's section to `patch`.

    The order of the project is locked by those who may write.
    """
    own_place = {"task_id": task_id, "project_id": project_id}
    if move.neighbour_id is None:
        found = await run.one(LAST if move.follows_neighbour else FIRST, **own_place)
        assert found is not None  # its columns are subqueries
        beyond = None
    else:
        statement = BEHIND_NEIGHBOUR if move.follows_neighbour else BEFORE_NEIGHBOUR
        found = await run.one(statement, **own_place, neighbour_id=move.neighbour_id, user_id=user_id)
        if found is None:
            raise NotFoundError("task")
        if found["project_id"] != project_id:
            raise InvalidValueError(("body", move.neighbour_field), "is in another project")
        patch.setdefault("section_id", found["section_id"])
        beyond = found["beyond"]
    low, high = (found["key"], beyond) if move.follows_neighbour else (beyond, found["key"])
    own = found["own"]
    if own is None:  # deleted or moved to another project meanwhile
        raise NotFoundError("task")
    if (low is None or low < own) and (high is None or own < high):
        return {}
    key = key_between(low, high, task_id)
    if key is not None:
        return {task_id: key}
    around = await run.all(AROUND, **own_place, low=low, high=high)
    before = [(row["id"], row["key"]) for row in around if row["is_before"]]
    after = [(row["id"], row["key"]) for row in around if not row["is_before"]]
    return renew_keys(before, task_id, after)
