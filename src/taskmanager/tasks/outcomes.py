"""What the row of a write of one task, or the foreign key that it violated, means to the caller."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.writes import Runner
from taskmanager.errors import InvalidValueError, NotFoundError
from taskmanager.events.repository import check_version
from taskmanager.http.preconditions import IfMatch
from taskmanager.projects.access import require_writer
from taskmanager.tasks.statements import NO_ASSIGNEE, NO_SECTION, TWICE_DUE


async def require_written(run: Runner, row: asyncpg.Record | None, condition: IfMatch, user_id: int) -> asyncpg.Record:
    """Return the row of a write of a task, if that had its effect.

    Raises:
        NotFoundError: There is no such task that the caller may see.
        RoleTooLowError: The caller may only read it.
        ProjectArchivedError: Its project is archived.
        PreconditionRequiredError: A condition is demanded and none was given.
        StaleVersionError: It is at another version than the condition names.
        InvalidValueError: A new assignee cannot log in.
    """
    if row is None:
        raise NotFoundError("task")
    if not row["done"]:
        require_writer(row["role"], archived=row["archived"])
        if row["found_version"] is not None:
            await check_version(
                run, condition, row["found_version"], user_id=user_id, entity="task", entity_id=row["id"]
            )
            if row.get("is_refused"):
                raise no_member()
            if row.get("refused_due"):
                raise InvalidValueError(("body", row["refused_due"]), TWICE_DUE)
        # Deleted by somebody else between the look-up and the lock.
        raise NotFoundError("task")
    return row


def no_member() -> InvalidValueError:
    """Return the refusal of an assignee who is no member of the project."""
    return InvalidValueError(("body", "assignee_id"), NO_ASSIGNEE)


@contextmanager
def named_violations() -> Iterator[None]:
    """Raise the errors that the violated foreign keys of one task stand for."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        match violated_constraint(error):
            case "tasks_assignee_fkey":
                raise no_member() from None
            case "tasks_section_fkey":
                raise InvalidValueError(("body", "section_id"), NO_SECTION) from None
            case "tasks_project_id_fkey":  # deleted between the look-up and the insert
                raise NotFoundError("project") from None
        raise
