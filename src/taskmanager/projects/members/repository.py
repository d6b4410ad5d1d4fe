"""Every statement on the members of projects."""

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from taskmanager.database.database import WriteSession, statement
from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import (
    AlreadyMemberError,
    LastOwnerError,
    NotFoundError,
    PersonalProjectError,
    ProjectArchivedError,
)
from taskmanager.events.statements import EVENT_COLUMNS
from taskmanager.http.pagination import Page
from taskmanager.projects.access import require_owner
from taskmanager.projects.roles import Role
from taskmanager.projects.schemas import MemberCreate, MemberRead

_NEXT = f"""
SELECT m.user_id, u.username, m.role, m.created_at, m.created_at AS key_time, m.user_id AS key_id
FROM project_members m JOIN users u ON u.id = m.user_id
WHERE m.project_id = me.project_id AND {after_key("m.created_at", "m.user_id")}
ORDER BY m.created_at, m.user_id LIMIT :limit
"""
_LIST = Statement(
    "list members",
    f"""
SELECT page.* FROM project_members me CROSS JOIN LATERAL ({json_page(_NEXT, json_object(MemberRead, "row"))}) AS page
WHERE me.project_id = :project_id AND me.user_id = :caller_id
""",
    shared=True,
    most_shared=32,
)

_ONE = """
FROM project_members me
JOIN project_members m ON m.project_id = me.project_id
JOIN users u ON u.id = m.user_id
WHERE me.project_id = :project_id AND me.user_id = :caller_id AND m.user_id = :user_id
"""
_FIND = Statement(
    "find member",
    f"SELECT convert_to({json_object(MemberRead, 'm', username='u.username')}, 'UTF8') AS body {_ONE}",
    shared=True,
)
_FIND_CHANGED = statement(f"SELECT m.user_id, u.username, m.role, m.created_at {_ONE}")

_ADD = statement(f"""
WITH access AS (
    SELECT p.id AS project_id, p.archived, p.inbox_of IS NOT NULL AS personal, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :caller_id
    WHERE p.id = :project_id
), person AS MATERIALIZED (
    -- Waits for a deletion of the account, and then does not find it.
    SELECT id, username FROM users
    WHERE lower(username) = lower(CAST(:username AS text)) OR email = lower(CAST(:email AS text))
    FOR KEY SHARE
), added AS (
    INSERT INTO project_members (project_id, user_id, role)
    SELECT a.project_id, person.id, :role FROM access a CROSS JOIN person
    WHERE a.role = 'owner' AND NOT a.archived AND NOT a.personal
    ON CONFLICT ON CONSTRAINT project_members_pkey DO NOTHING
    RETURNING project_id, user_id, role, created_at
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :caller_id, 'member', user_id, 0, 'added',
           jsonb_build_object('role', jsonb_build_object('old', NULL, 'new', role))
    FROM added
)
SELECT a.role AS caller_role, a.archived, a.personal, person.id AS user_id, person.username,
       added.role, added.created_at
FROM access a LEFT JOIN person ON true LEFT JOIN added ON true
""")

# Owners, caller and target are locked in one order, so that of two owners who remove each other one comes first,
# and so that nobody is assigned a task while they are being removed. The project comes before its members, as
# wherever a task is created: locked the other way round, the two would wait for each other.
_LOCK = statement("""
SELECT m.user_id, m.role, p.archived, p.inbox_of IS NOT NULL AS personal
FROM project_members m JOIN projects p ON p.id = m.project_id
WHERE m.project_id = :project_id AND (m.role = 'owner' OR m.user_id IN (:caller_id, :user_id))
  AND EXISTS (SELECT FROM project_members WHERE project_id = :project_id AND user_id = :caller_id)
ORDER BY m.user_id FOR UPDATE OF p FOR UPDATE OF m
""")

_CHANGE_ROLE = statement(f"""
WITH before AS (
    SELECT role FROM project_members WHERE project_id = :project_id AND user_id = :user_id
), changed AS (
    UPDATE project_members m SET role = :role FROM before
    WHERE m.project_id = :project_id AND m.user_id = :user_id AND m.role <> :role
    RETURNING m.project_id, m.user_id, before.role AS old, m.role AS new
)
INSERT INTO events ({EVENT_COLUMNS})
SELECT project_id, :caller_id, 'member', user_id, 0, 'updated',
       jsonb_build_object('role', jsonb_build_object('old', old, 'new', new))
FROM changed
""")

_REMOVE = statement(f"""
WITH unassigned AS (
    UPDATE tasks SET assignee_id = NULL, version = version + 1, updated_at = now()
    WHERE project_id = :project_id AND assignee_id = :user_id
    RETURNING project_id, id, version
), removed AS (
    DELETE FROM project_members WHERE project_id = :project_id AND user_id = :user_id
    RETURNING project_id, user_id, role
)
INSERT INTO events ({EVENT_COLUMNS})
SELECT project_id, :caller_id, 'task', id, version, 'updated',
       jsonb_build_object('assignee_id', jsonb_build_object('old', :user_id, 'new', NULL))
FROM unassigned
UNION ALL
SELECT project_id, :caller_id, 'member', user_id, 0, 'removed',
       jsonb_build_object('role', jsonb_build_object('old', role, 'new', NULL))
FROM removed
""")


@dataclass(frozen=True)
class LockedMembers:
    """The locked members of a project: its owners, the caller and the one to change."""

    roles: dict[int, str]

    def require_remaining_owner(self, user_id: int) -> None:
        """Check that the project keeps an owner without this one.

        Raises:
            LastOwnerError: There is no other.
        """
        if not any(role == Role.OWNER for member, role in self.roles.items() if member != user_id):
            raise LastOwnerError


class MemberReader:
    """Reads the members of projects that the caller is one of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list_page(self, project_id: int, page: Page, *, caller_id: int) -> FoundPage:
        """Return a page of members, longest-standing first, as `json_page` has it.

        Raises:
            NotFoundError: There is no such project that the caller may see.
        """
        row = await self._reads.page(_LIST, **page.parameters, project_id=project_id, caller_id=caller_id)
        if row is None:
            raise NotFoundError("project")
        return row

    async def find(self, project_id: int, user_id: int, *, caller_id: int) -> bytes:
        """Return one member as JSON.

        Raises:
            NotFoundError: There is no such member that the caller may see.
        """
        row = await self._reads.one(_FIND, project_id=project_id, user_id=user_id, caller_id=caller_id)
        if row is None:
            raise NotFoundError("member")
        body: bytes = row["body"]
        return body


class MemberWriter:
    """Writes the members of projects."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def add(self, project_id: int, new: MemberCreate, *, caller_id: int) -> MemberRead:
        """Make somebody a member.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such person.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived.
            PersonalProjectError: It is an Inbox.
            AlreadyMemberError: The person is a member.
        """
        parameters = {**new.model_dump(), "project_id": project_id, "caller_id": caller_id}
        try:
            row = (await self._session.execute(_ADD, parameters)).one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) == "project_members_project_id_fkey":  # deleted meanwhile
                raise NotFoundError("project") from None
            raise
        if row is None:
            raise NotFoundError("project")
        if row.user_id is None and row.caller_role == Role.OWNER:
            raise NotFoundError("user")
        require_owner(row.caller_role)
        _require_shareable(archived=row.archived, personal=row.personal)
        if row.role is None:
            raise AlreadyMemberError
        return MemberRead.model_validate(row, from_attributes=True)

    async def lock(
        self, project_id: int, user_id: int, *, caller_id: int, may_be_oneself: bool = False
    ) -> LockedMembers:
        """Lock a member whose role or membership is to change, with the caller and all owners.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such member.
            RoleTooLowError: The caller is not its owner, nor that member where this is enough.
            ProjectArchivedError: It is archived.
            PersonalProjectError: It is an Inbox.
        """
        parameters = {"project_id": project_id, "user_id": user_id, "caller_id": caller_id}
        rows = (await self._session.execute(_LOCK, parameters)).all()
        roles = {row.user_id: row.role for row in rows}
        if caller_id not in roles:
            raise NotFoundError("project")
        if user_id not in roles:
            raise NotFoundError("member")
        if not (may_be_oneself and user_id == caller_id):
            require_owner(roles[caller_id])
        _require_shareable(archived=rows[0].archived, personal=rows[0].personal)
        return LockedMembers(roles)

    async def change_role(self, project_id: int, user_id: int, role: Role, *, caller_id: int) -> MemberRead:
        """Give a locked member another role, and return the member."""
        parameters = {"project_id": project_id, "user_id": user_id, "caller_id": caller_id}
        await self._session.execute(_CHANGE_ROLE, {**parameters, "role": role})
        return MemberRead.model_validate(
            (await self._session.execute(_FIND_CHANGED, parameters)).one(), from_attributes=True
        )

    async def remove(self, project_id: int, user_id: int, *, caller_id: int) -> None:
        """End a locked membership and take the member's assignments back."""
        parameters = {"project_id": project_id, "user_id": user_id, "caller_id": caller_id}
        await self._session.execute(_REMOVE, parameters)


def _require_shareable(*, archived: bool, personal: bool) -> None:
    if archived:
        raise ProjectArchivedError
    if personal:
        raise PersonalProjectError("shared")
