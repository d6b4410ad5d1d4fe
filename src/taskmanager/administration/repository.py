"""Every statement of administration."""

from taskmanager.accounts.schemas import UserRead
from taskmanager.accounts.statements import ACCOUNT_COLUMNS, administrator_steps, is_last_administrator
from taskmanager.administration.schemas import Done, OwnerlessProject
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import WriteRunner, Written
from taskmanager.errors import LastAdministratorError, LastOwnerError, NotFoundError, PersonalProjectError
from taskmanager.events.deletion import emptied
from taskmanager.events.statements import EVENT_COLUMNS, next_version
from taskmanager.http.pagination import Page
from taskmanager.projects.schemas import MemberRead
from taskmanager.roles import Role

_NEXT = f"""
SELECT {ACCOUNT_COLUMNS}, created_at AS key_time, id AS key_id FROM users
WHERE deleted_at IS NULL AND {after_key("created_at", "id")}
ORDER BY created_at, id LIMIT :limit
"""
_LIST = Statement("list users", json_page(_NEXT, json_object(UserRead, "row")), shared=True, most_shared=32)

# Found by the disabled accounts, which are few; every project has an owner.
_NEXT_OWNERLESS = f"""
SELECT p.id, p.name, p.archived, p.created_at, p.created_at AS key_time, p.id AS key_id FROM projects p
WHERE p.id IN (
    SELECT m.project_id FROM users u JOIN project_members m ON m.user_id = u.id AND m.role = 'owner'
    WHERE u.disabled AND u.deleted_at IS NULL
) AND p.inbox_of IS NULL AND NOT EXISTS (
    SELECT FROM project_members m JOIN users u ON u.id = m.user_id
    WHERE m.project_id = p.id AND m.role = 'owner' AND NOT u.disabled
) AND {after_key("p.created_at", "p.id")}
ORDER BY p.created_at, p.id LIMIT :limit
"""
_LIST_OWNERLESS = Statement(
    "list projects without owner", json_page(_NEXT_OWNERLESS, json_object(OwnerlessProject, "row"))
)

# The key of the settings has no user.
_IS_ADMITTED = "(:user_id IS NOT NULL OR NOT :has_user)"
_NO_PROJECT = "CAST(NULL AS bigint) AS project_id, CAST(NULL AS integer) AS version"

_ENABLE = Write(
    "enable user",
    f"""
changed AS (
    UPDATE users SET disabled = false WHERE id = :account_id AND deleted_at IS NULL AND {_IS_ADMITTED}
    RETURNING {ACCOUNT_COLUMNS}
)""",
    f"""
SELECT true AS done, id, {_NO_PROJECT}, convert_to({json_object(UserRead, "changed")}, 'UTF8') AS body FROM changed
""",
    {"has_user": "boolean"},
)

_DISABLE = Write(
    "disable user",
    f"""
{administrator_steps(":account_id")}, target AS (
    SELECT id FROM users WHERE id = :account_id AND deleted_at IS NULL AND {_IS_ADMITTED}
), changed AS (
    UPDATE users SET disabled = true
    WHERE id = (SELECT id FROM target) AND deleted_at IS NULL
      AND NOT (:keeps_administrator AND {is_last_administrator(":account_id")})
    RETURNING {ACCOUNT_COLUMNS}
)""",
    f"""
SELECT changed.id IS NOT NULL AS done, target.id, {_NO_PROJECT},
       CASE WHEN changed.id IS NOT NULL THEN convert_to({json_object(UserRead, "changed")}, 'UTF8') END AS body
FROM target LEFT JOIN changed ON true
""",
    {"keeps_administrator": "boolean", "has_user": "boolean"},
)

# Every change of a project's members begins with a lock of the project.
_LOCK_PROJECT = Write(
    "lock project for administrator",
    f"""
found AS MATERIALIZED (
    SELECT id, inbox_of FROM projects WHERE id = :project_id AND {_IS_ADMITTED} FOR UPDATE
)""",
    "SELECT * FROM found",
    {"has_user": "boolean"},
)

_WRITTEN = json_object(MemberRead, "written", username="known.username", display_name="known.display_name")
_SET_ROLE = Write(
    "set role for administrator",
    f"""
person AS MATERIALIZED (
    -- Waits for a deletion of the account, and then does not find it.
    SELECT id, username, display_name, disabled FROM users WHERE id = :member_id AND deleted_at IS NULL FOR KEY SHARE
), before AS (
    SELECT role FROM project_members WHERE project_id = :project_id AND user_id = :member_id
), known AS (
    SELECT person.id, person.username, person.display_name, before.role AS old,
           :role = 'owner' OR before.role IS DISTINCT FROM 'owner' OR EXISTS (
               SELECT FROM project_members m JOIN users u ON u.id = m.user_id
               WHERE m.project_id = :project_id AND m.role = 'owner' AND m.user_id <> :member_id AND NOT u.disabled
           ) AS keeps_owner
    FROM person LEFT JOIN before ON true
    WHERE before.role IS NOT NULL OR NOT person.disabled
), written AS (
    INSERT INTO project_members AS m (project_id, user_id, role, version)
    SELECT :project_id, id, :role, {next_version(":project_id", "'member'", "id")} FROM known WHERE keeps_owner
    ON CONFLICT ON CONSTRAINT project_members_pkey DO UPDATE
        SET role = EXCLUDED.role, version = m.version + CASE WHEN m.role <> EXCLUDED.role THEN 1 ELSE 0 END
    RETURNING project_id, user_id, role, created_at, version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'member', user_id, version, CASE WHEN old IS NULL THEN 'added' ELSE 'updated' END,
           jsonb_build_object('role', jsonb_build_object('old', old, 'new', role))
    FROM written JOIN known ON known.id = written.user_id WHERE old IS DISTINCT FROM role
)""",
    f"""
SELECT written.user_id IS NOT NULL AS done, known.id, CAST(:project_id AS bigint) AS project_id,
       CAST(NULL AS integer) AS version,
       CASE WHEN written.user_id IS NOT NULL
            THEN convert_to({_WRITTEN}, 'UTF8') END AS body
FROM known LEFT JOIN written ON true
""",
    {"role": "text"},
)

_CLEAR_TASKS = Write(
    "clear tasks",
    f"""
gone AS (
    DELETE FROM tasks WHERE {_IS_ADMITTED} RETURNING project_id, id, version
), {emptied("entity IN ('task', 'comment') AND " + _IS_ADMITTED)}, logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version + 1, 'deleted', '{{}}' FROM gone
)""",
    f"""
SELECT true AS done, CAST(NULL AS bigint) AS id, {_NO_PROJECT},
       convert_to({json_object(Done, "answer")}, 'UTF8') AS body
FROM (VALUES ('All tasks deleted')) AS answer (message) WHERE {_IS_ADMITTED}
""",
    {"has_user": "boolean"},
)


class AdministrationReader:
    """Reads what belongs to everybody."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list_page(self, page: Page) -> FoundPage:
        """Return a page of accounts, oldest first, as `json_page` has it."""
        return await self._page(_LIST, page)

    async def list_ownerless(self, page: Page) -> FoundPage:
        """Return a page of projects none of whose owners can log in, oldest first, as `json_page` has it."""
        return await self._page(_LIST_OWNERLESS, page)

    async def _page(self, statement: Statement, page: Page) -> FoundPage:
        row = await self._reads.page(statement, **page.parameters)
        assert row is not None  # an aggregate always gives a row
        return row


class AdministrationWriter:
    """Writes what belongs to everybody; `user_id` is the administrator, None for the key of the settings."""

    def __init__(self, writes: WriteRunner, *, user_id: int | None) -> None:
        self._writes = writes
        self._caller = {"user_id": user_id, "has_user": user_id is not None}

    async def enable(self, account_id: int) -> Written:
        """Let an account in again.

        Raises:
            NotFoundError: There is no such account.
        """
        row = await self._writes.one(_ENABLE, account_id=account_id, **self._caller)
        if row is None:
            raise NotFoundError("user")
        return Written(row["id"], None, row["body"])

    async def disable(self, account_id: int, *, keeps_administrator: bool = True) -> Written:
        """Shut an account out; holds for every request from now on, also where projects are left without an owner.

        Raises:
            NotFoundError: There is no such account.
            LastAdministratorError: One is to be kept, and nobody else who can log in is an administrator.
        """
        row = await self._writes.one(
            _DISABLE, account_id=account_id, keeps_administrator=keeps_administrator, **self._caller
        )
        if row is None:
            raise NotFoundError("user")
        if not row["done"]:
            raise LastAdministratorError
        return Written(row["id"], None, row["body"])

    async def set_role(self, project_id: int, member_id: int, role: Role) -> Written:
        """Give somebody a role in any project, as a new member or in place of the role that they have.

        Raises:
            NotFoundError: There is no such project, or no such account that is a member or can log in.
            PersonalProjectError: It is an Inbox.
            LastOwnerError: The project would be left without an owner who can log in.
        """
        async with self._writes.transaction() as run:
            project = await run.one(_LOCK_PROJECT, project_id=project_id, **self._caller)
            if project is None:
                raise NotFoundError("project")
            if project["inbox_of"] is not None:
                raise PersonalProjectError("shared")
            row = await run.last(
                _SET_ROLE, project_id=project_id, member_id=member_id, role=role, user_id=self._caller["user_id"]
            )
            if row is None:
                raise NotFoundError("user")
            if not row["done"]:
                raise LastOwnerError
        return Written(row["id"], None, row["body"])

    async def clear_tasks(self) -> Written:
        """Delete all tasks of all projects, with their comments."""
        async with self._writes.transaction(long=True) as run:
            row = await run.last(_CLEAR_TASKS, **self._caller)
        assert row is not None  # nothing is looked for
        return Written(None, None, row["body"])
