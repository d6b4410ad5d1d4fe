"""Every statement of administration."""

from taskmanager.accounts.schemas import UserRead
from taskmanager.administration.schemas import Done
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import WriteRunner, Written
from taskmanager.errors import NotFoundError
from taskmanager.http.pagination import Page
from taskmanager.tasks.statements import LOG_DELETED

_COLUMNS = "id, username, email, disabled, is_admin, created_at"

_NEXT = f"""
SELECT {_COLUMNS}, created_at AS key_time, id AS key_id FROM users
WHERE deleted_at IS NULL AND {after_key("created_at", "id")}
ORDER BY created_at, id LIMIT :limit
"""
_LIST = Statement("list users", json_page(_NEXT, json_object(UserRead, "row")), shared=True, most_shared=32)

# The key of the settings has no user.
_IS_ADMITTED = "(:user_id IS NOT NULL OR NOT :has_user)"
_NO_PROJECT = "CAST(NULL AS bigint) AS project_id, CAST(NULL AS integer) AS version"

_SET_DISABLED = Write(
    "set user disabled",
    f"""
changed AS (
    UPDATE users SET disabled = :disabled WHERE id = :account_id AND deleted_at IS NULL AND {_IS_ADMITTED}
    RETURNING {_COLUMNS}
)""",
    f"""
SELECT true AS done, id, {_NO_PROJECT}, convert_to({json_object(UserRead, "changed")}, 'UTF8') AS body FROM changed
""",
    {"disabled": "boolean", "has_user": "boolean"},
)

_CLEAR_TASKS = Write(
    "clear tasks",
    f"""
gone AS (
    DELETE FROM tasks WHERE {_IS_ADMITTED} RETURNING project_id, id, version, title
), {LOG_DELETED}""",
    f"""
SELECT true AS done, CAST(NULL AS bigint) AS id, {_NO_PROJECT},
       convert_to({json_object(Done, "answer")}, 'UTF8') AS body
FROM (VALUES ('All tasks deleted')) AS answer (message) WHERE {_IS_ADMITTED}
""",
    {"has_user": "boolean"},
)


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

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def set_disabled(self, account_id: int, *, disabled: bool, user_id: int | None) -> Written:
        """Shut an account out, or let it in again; holds for every request from now on.

        Raises:
            NotFoundError: There is no such account.
        """
        row = await self._writes.one(
            _SET_DISABLED, account_id=account_id, disabled=disabled, user_id=user_id, has_user=user_id is not None
        )
        if row is None:
            raise NotFoundError("user")
        return Written(row["id"], None, row["body"])

    async def clear_tasks(self, *, user_id: int | None) -> Written:
        """Delete all tasks of all projects, with their comments."""
        async with self._writes.transaction(long=True) as run:
            row = await run.last(_CLEAR_TASKS, user_id=user_id, has_user=user_id is not None)
        assert row is not None  # nothing is looked for
        return Written(None, None, row["body"])
