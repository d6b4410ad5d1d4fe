"""Every statement of administration."""

from taskmanager.accounts.schemas import UserRead
from taskmanager.database.database import WriteSession, statement
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import NotFoundError
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.http.pagination import Page

_COLUMNS = "id, username, email, disabled, is_admin, created_at"

_NEXT = f"""
SELECT {_COLUMNS}, created_at AS key_time, id AS key_id FROM users
WHERE deleted_at IS NULL AND {after_key("created_at", "id")}
ORDER BY created_at, id LIMIT :limit
"""
_LIST = Statement("list users", json_page(_NEXT, json_object(UserRead, "row")), shared=True, most_shared=32)

_SET_DISABLED = statement(f"""
UPDATE users SET disabled = :disabled WHERE id = :user_id AND deleted_at IS NULL RETURNING {_COLUMNS}
""")

_CLEAR_TASKS = statement(f"""
WITH gone AS (
    DELETE FROM tasks RETURNING project_id, id, version, title
)
INSERT INTO events ({EVENT_COLUMNS})
SELECT project_id, :actor_id, 'task', id, version + 1, 'deleted',
       jsonb_build_object('title', jsonb_build_object('old', title, 'new', NULL))
FROM gone
""")


class AdministrationReader:
    """Reads the accounts of everybody."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list_page(self, page: Page) -> FoundPage:
        """Return a page of accounts, oldest first, as `json_page` has it."""
        row = await self._reads.page(_LIST, **page.parameters)
        assert row is not None  # an aggregate always gives a row
        return row


class AdministrationWriter:
    """Writes what belongs to everybody."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def set_disabled(self, user_id: int, *, disabled: bool) -> UserRead:
        """Shut an account out, or let it in again; holds for every request from now on.

        Raises:
            NotFoundError: There is no such account.
        """
        row = (await self._session.execute(_SET_DISABLED, {"user_id": user_id, "disabled": disabled})).one_or_none()
        if row is None:
            raise NotFoundError("user")
        return UserRead.model_validate(row, from_attributes=True)

    async def clear_tasks(self, *, actor_id: int | None) -> None:
        """Delete all tasks of all projects, with their comments."""
        await self._session.execute(_CLEAR_TASKS, {"actor_id": actor_id})
