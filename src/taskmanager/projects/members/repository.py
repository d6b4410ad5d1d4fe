"""Every statement on the members of projects."""

import asyncpg

from taskmanager.accounts.folding import folded_name
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import TransactionRunner, WriteRunner, Written
from taskmanager.errors import (
    AlreadyMemberError,
    LastOwnerError,
    NotFoundError,
    PersonalProjectError,
    ProjectArchivedError,
)
from taskmanager.events.followed import FollowedEntity
from taskmanager.events.statements import EVENT_COLUMNS, next_version
from taskmanager.http.pagination import Page
from taskmanager.people.statements import page_with_people, with_people
from taskmanager.projects.access import require_owner
from taskmanager.projects.schemas import MemberCreate, MemberRead
from taskmanager.roles import Role

_NEXT = f"""
SELECT m.user_id, u.username, u.display_name, m.role, m.created_at, m.version,
       m.created_at AS key_time, m.user_id AS key_id
FROM project_members m JOIN users u ON u.id = m.user_id
WHERE m.project_id = me.project_id AND {after_key("m.created_at", "m.user_id")}
ORDER BY m.created_at, m.user_id LIMIT :limit
"""
FOLLOWED = FollowedEntity(
    "member",
    "project_members",
    json_object(MemberRead, "r", username="u.username", display_name="u.display_name"),
    MemberRead,
    joins="JOIN users u ON u.id = r.user_id",
    id="r.user_id",
    is_bound=True,
)
_ROW = json_object(MemberRead, "row")


def _list(page: str) -> Statement:
    return Statement(
        "list members",
        f"""
        SELECT page.* FROM project_members me CROSS JOIN LATERAL ({page}) AS page
        WHERE me.project_id = :project_id AND me.user_id = :caller_id
        """,
        shared=True,
        most_shared=32,
    )


_LIST = _list(json_page(_NEXT, _ROW))
_LIST_WITH_PEOPLE = _list(page_with_people(_NEXT, _ROW, "row.user_id"))

_ONE = """
FROM project_members me
JOIN project_members m ON m.project_id = me.project_id
JOIN users u ON u.id = m.user_id
WHERE me.project_id = :project_id AND me.user_id = :caller_id AND m.user_id = :user_id
"""


def _find(more: str = "") -> Statement:
    member = json_object(MemberRead, "m", username="u.username", display_name="u.display_name", more=more)
    return Statement("find member", f"SELECT convert_to({member}, 'UTF8') AS body {_ONE}", shared=True)


_FIND = _find()
_FIND_WITH_PEOPLE = _find(with_people("m.user_id"))
_ADDED = json_object(MemberRead, "added", username="person.username", display_name="person.display_name")
_ADD = Write(
    "add member",
    f"""
access AS (
    SELECT p.id AS project_id, p.archived, p.inbox_of IS NOT NULL AS is_personal, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :project_id
), person AS MATERIALIZED (
    -- Waits for a deletion of the account, and then does not find it.
    SELECT id, username, display_name FROM users
    WHERE ({folded_name("username")} = {folded_name(":username")} OR email = :email) AND NOT disabled
    FOR KEY SHARE
), added AS (
    INSERT INTO project_members (project_id, user_id, role, version)
    SELECT a.project_id, person.id, :role, {next_version("a.project_id", "'member'", "person.id")}
    FROM access a CROSS JOIN person
    WHERE a.role = 'owner' AND NOT a.archived AND NOT a.is_personal
      -- While a removal is under way the person is a member still: the version that it logs is not to be seen yet.
      AND NOT EXISTS (SELECT FROM project_members m WHERE m.project_id = a.project_id AND m.user_id = person.id)
    ON CONFLICT ON CONSTRAINT project_members_pkey DO NOTHING
    RETURNING project_id, user_id, role, created_at, version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'member', user_id, version, 'added',
           jsonb_build_object('role', jsonb_build_object('old', NULL, 'new', role))
    FROM added
)""",
    f"""
SELECT a.role, a.archived, a.is_personal, person.id, added.user_id IS NOT NULL AS done, a.project_id,
       CAST(NULL AS integer) AS version,
       CASE WHEN added.user_id IS NOT NULL
            THEN convert_to({_ADDED}, 'UTF8') END AS body
FROM access a LEFT JOIN person ON true LEFT JOIN added ON true
""",
    {"username": "text", "email": "text", "role": "text"},
)

# Owners, caller and member are locked in one order, so that of two owners who remove each other one comes first,
# and so that nobody is assigned a task while they are being removed. The project comes before its members, as
# wherever a task is created: locked the other way round, the two would wait for each other.
_LOCK = Write(
    "lock members",
    """
locked AS MATERIALIZED (
    SELECT m.user_id, m.role, u.disabled, p.archived, p.inbox_of IS NOT NULL AS is_personal
    FROM project_members m JOIN projects p ON p.id = m.project_id JOIN users u ON u.id = m.user_id
    WHERE m.project_id = :project_id AND (m.role = 'owner' OR m.user_id IN (:user_id, :member_id))
      AND EXISTS (SELECT FROM project_members WHERE project_id = :project_id AND user_id = :user_id)
    ORDER BY m.user_id FOR UPDATE OF p FOR UPDATE OF m
)""",
    "SELECT * FROM locked",
)

_CHANGED = json_object(MemberRead, "now", username="u.username", display_name="u.display_name")
_CHANGE_ROLE = Write(
    "change role",
    f"""
before AS (
    SELECT * FROM project_members WHERE project_id = :project_id AND user_id = :member_id
), changed AS (
    UPDATE project_members m SET role = :role, version = m.version + 1 FROM before
    WHERE m.project_id = :project_id AND m.user_id = :member_id AND m.role <> :role
    RETURNING m.project_id, m.user_id, m.version, before.role AS old, m.role AS new
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'member', user_id, version, 'updated',
           jsonb_build_object('role', jsonb_build_object('old', old, 'new', new))
    FROM changed
)""",
    f"""
SELECT true AS done, now.user_id AS id, now.project_id, CAST(NULL AS integer) AS version,
       convert_to({_CHANGED}, 'UTF8') AS body
FROM (
    SELECT b.project_id, b.user_id, :role AS role, b.created_at, COALESCE(c.version, b.version) AS version
    FROM before b LEFT JOIN changed c ON true
) AS now JOIN users u ON u.id = now.user_id
""",
    {"role": "text"},
)

_REMOVE = Write(
    "remove member",
    f"""
unassigned AS (
    UPDATE tasks SET assignee_id = NULL, version = version + 1, updated_at = now()
    WHERE project_id = :project_id AND assignee_id = :member_id
    RETURNING project_id, id, version
), removed AS (
    DELETE FROM project_members WHERE project_id = :project_id AND user_id = :member_id
    RETURNING project_id, user_id, role, version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version, 'updated',
           jsonb_build_object('assignee_id', jsonb_build_object('old', :member_id, 'new', NULL))
    FROM unassigned
    UNION ALL
    SELECT project_id, :user_id, 'member', user_id, version + 1, 'removed',
           jsonb_build_object('role', jsonb_build_object('old', role, 'new', NULL))
    FROM removed
)""",
    """
SELECT true AS done, user_id AS id, project_id, CAST(NULL AS integer) AS version, CAST(NULL AS bytea) AS body
FROM removed
""",
)


class MemberReader:
    """Reads the members of projects that the caller is one of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list_page(self, project_id: int, page: Page, *, caller_id: int, with_people: bool = False) -> FoundPage:
        """Return a page of members, longest-standing first, as `json_page` has it.

        Raises:
            NotFoundError: There is no such project that the caller may see.
        """
        statement = _LIST_WITH_PEOPLE if with_people else _LIST
        row = await self._reads.page(statement, **page.parameters, project_id=project_id, caller_id=caller_id)
        if row is None:
            raise NotFoundError("project")
        return row

    async def find(self, project_id: int, user_id: int, *, caller_id: int, with_people: bool = False) -> bytes:
        """Return one member as JSON.

        Raises:
            NotFoundError: There is no such member that the caller may see.
        """
        statement = _FIND_WITH_PEOPLE if with_people else _FIND
        row = await self._reads.one(statement, project_id=project_id, user_id=user_id, caller_id=caller_id)
        if row is None:
            raise NotFoundError("member")
        body: bytes = row["body"]
        return body


class MemberWriter:
    """Writes the members of projects."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def add(self, project_id: int, new: MemberCreate, *, user_id: int) -> Written:
        """Make somebody a member.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such person who can log in.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived.
            PersonalProjectError: It is an Inbox.
            AlreadyMemberError: The person is a member.
        """
        try:
            row = await self._writes.one(_ADD, **new.model_dump(), project_id=project_id, user_id=user_id)
        except asyncpg.ForeignKeyViolationError as error:
            if violated_constraint(error) == "project_members_project_id_fkey":  # deleted meanwhile
                raise NotFoundError("project") from None
            raise
        if row is None:
            raise NotFoundError("project")
        if not row["done"]:
            if row["id"] is None and row["role"] == Role.OWNER:
                raise NotFoundError("user")
            require_owner(row["role"])
            _require_shareable(row)
            raise AlreadyMemberError
        return Written(row["id"], None, row["body"])

    async def change_role(self, project_id: int, member_id: int, role: Role, *, user_id: int) -> Written:
        """Give a member another role, and return the member.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such member.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived.
            PersonalProjectError: It is an Inbox.
            LastOwnerError: The project would be left without an owner who can log in.
        """
        async with self._writes.transaction() as run:
            members = await _lock(run, project_id, member_id, user_id=user_id)
            if role != Role.OWNER:
                _require_remaining_owner(members, member_id)
            row = await run.last(_CHANGE_ROLE, project_id=project_id, member_id=member_id, user_id=user_id, role=role)
        assert row is not None  # the member is locked
        return Written(row["id"], None, row["body"])

    async def remove(self, project_id: int, member_id: int, *, user_id: int) -> None:
        """End a membership, somebody else's or the caller's own, and take the member's assignments back.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such member.
            RoleTooLowError: The caller is neither its owner nor that member.
            ProjectArchivedError: It is archived.
            PersonalProjectError: It is an Inbox.
            LastOwnerError: The project would be left without an owner who can log in.
        """
        async with self._writes.transaction() as run:
            members = await _lock(run, project_id, member_id, user_id=user_id, may_be_oneself=True)
            _require_remaining_owner(members, member_id)
            await run.last(_REMOVE, project_id=project_id, member_id=member_id, user_id=user_id)


async def _lock(
    run: TransactionRunner, project_id: int, member_id: int, *, user_id: int, may_be_oneself: bool = False
) -> dict[int, asyncpg.Record]:
    """Lock a member with the caller and all owners, and return them by their ids."""
    rows = await run.all(_LOCK, project_id=project_id, member_id=member_id, user_id=user_id)
    members = {row["user_id"]: row for row in rows}
    if user_id not in members:
        raise NotFoundError("project")
    if member_id not in members:
        raise NotFoundError("member")
    if not (may_be_oneself and member_id == user_id):
        require_owner(members[user_id]["role"])
    _require_shareable(rows[0])
    return members


def _require_remaining_owner(members: dict[int, asyncpg.Record], member_id: int) -> None:
    if members[member_id]["role"] != Role.OWNER:
        return  # so that members can leave a project whose owners cannot log in
    others = (member for user_id, member in members.items() if user_id != member_id)
    if not any(other["role"] == Role.OWNER and not other["disabled"] for other in others):
        raise LastOwnerError


def _require_shareable(row: asyncpg.Record) -> None:
    if row["archived"]:
        raise ProjectArchivedError
    if row["is_personal"]:
        raise PersonalProjectError("shared")
