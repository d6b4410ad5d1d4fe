"""Every statement on projects; membership is part of each WHERE clause."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Integer

from taskmanager.database.database import WriteSession, statement
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import Document, FoundPage, Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import NotFoundError, PersonalProjectError, ProjectArchivedError, StaleVersionError
from taskmanager.events.repository import name_changes
from taskmanager.events.statements import EVENT_COLUMNS, changed_fields
from taskmanager.http.pagination import Page
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.projects.access import require_owner
from taskmanager.projects.schemas import ProjectCreate, ProjectRead, ProjectUpdate

_COLUMNS = """p.id, p.name, p.description, p.archived, p.inbox_of IS NOT NULL AS personal,
    p.created_at, p.updated_at, p.version"""

_CREATE = statement(f"""
WITH p AS (
    INSERT INTO projects (name, description) VALUES (:name, :description) RETURNING *
), membership AS (
    INSERT INTO project_members (project_id, user_id, role) SELECT id, :user_id, 'owner' FROM p
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT id, :user_id, 'project', id, version, 'created',
           jsonb_build_object('name', jsonb_build_object('old', NULL, 'new', name))
    FROM p
)
SELECT {_COLUMNS}, 'owner' AS role FROM p
""")

_VISIBLE = """
projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id WHERE p.id = :project_id
"""
_PROJECT = json_object(ProjectRead, "p", personal="p.inbox_of IS NOT NULL", role="m.role")
_FIND = Statement(
    "find project", f"SELECT p.version, convert_to({_PROJECT}, 'UTF8') AS body FROM {_VISIBLE}", shared=True
)
_FIND_VERSION = Statement("find version of project", f"SELECT p.version FROM {_VISIBLE}", shared=True)

_NEXT = f"""
SELECT p.*, p.inbox_of IS NOT NULL AS personal, m.role, p.created_at AS key_time, p.id AS key_id
FROM project_members m JOIN projects p ON p.id = m.project_id
WHERE m.user_id = :user_id AND {after_key("p.created_at", "p.id")}
ORDER BY p.created_at, p.id LIMIT :limit
"""
_LIST = Statement("list projects", json_page(_NEXT, json_object(ProjectRead, "row")), shared=True, most_shared=32)

# The row is locked before it is compared, so that old and new values in the log are those of this very change.
_UPDATE = statement(
    f"""
WITH access AS (
    SELECT project_id, role FROM project_members WHERE project_id = :project_id AND user_id = :user_id
), found AS MATERIALIZED (
    SELECT p AS old FROM projects p JOIN access a ON a.project_id = p.id
    WHERE a.role = 'owner' FOR UPDATE OF p
), wanted AS MATERIALIZED (
    SELECT old, jsonb_populate_record(old, :patch) AS new FROM found
    WHERE (NOT (old).archived OR CAST(:patch AS jsonb) -> 'archived' = 'false')
      AND ((old).inbox_of IS NULL OR CAST(:patch AS jsonb) -> 'archived' IS DISTINCT FROM 'true')
), compared AS MATERIALIZED (
    SELECT old, new, {changed_fields("wanted", ("name", "description", "archived"))} AS changes FROM wanted
), changed AS (
    UPDATE projects p
    SET name = (c.new).name, description = (c.new).description, archived = (c.new).archived,
        version = p.version + 1, updated_at = now()
    FROM compared c
    WHERE p.id = (c.old).id AND c.changes IS NOT NULL AND (:versions IS NULL OR p.version = ANY(:versions))
    RETURNING p, c.changes
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (p).id, :user_id, 'project', (p).id, (p).version, 'updated', changes FROM changed
)
SELECT {_COLUMNS}, a.role, (SELECT count(*) FROM wanted) AS allowed, (f.old).version AS found_version
FROM access a JOIN found f ON true LEFT JOIN changed c ON true
CROSS JOIN LATERAL (SELECT (COALESCE(c.p, f.old)).*) AS p
""",
    patch=JSONB(),
    versions=ARRAY(Integer),
)

_FIND_ROLE = statement("SELECT role FROM project_members WHERE project_id = :project_id AND user_id = :user_id")

_LOCK = statement("""
SELECT p.id, p.inbox_of, p.version, m.role
FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
WHERE p.id = :project_id FOR UPDATE OF p
""")

# The whole log of the project goes, but for the last line: followers have to learn that it is gone.
_DELETE = statement(f"""
WITH gone_events AS (
    DELETE FROM events WHERE project_id = :project_id
), gone_tasks AS (
    DELETE FROM tasks WHERE project_id = :project_id
), gone_members AS (
    DELETE FROM project_members WHERE project_id = :project_id
), gone AS (
    DELETE FROM projects WHERE id = :project_id RETURNING id, version
)
INSERT INTO events ({EVENT_COLUMNS})
SELECT id, :user_id, 'project', id, version + 1, 'deleted', '{{}}' FROM gone
""")


def _project(row: Row[Any]) -> ProjectRead:
    return ProjectRead.model_validate(row, from_attributes=True)


class ProjectReader:
    """Reads projects that the caller is a member of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, project_id: int, *, user_id: int) -> Document:
        """Return one project.

        Raises:
            NotFoundError: There is none that the caller may see.
        """
        row = await self._reads.one(_FIND, project_id=project_id, user_id=user_id)
        if row is None:
            raise NotFoundError("project")
        return Document(row["version"], row["body"])

    async def find_version(self, project_id: int, *, user_id: int) -> int:
        """Return the version of a project, without reading the rest of it.

        Raises:
            NotFoundError: There is none that the caller may see.
        """
        row = await self._reads.one(_FIND_VERSION, project_id=project_id, user_id=user_id)
        if row is None:
            raise NotFoundError("project")
        version: int = row["version"]
        return version

    async def list_page(self, page: Page, *, user_id: int) -> FoundPage:
        """Return a page of the caller's projects, oldest first, as `json_page` has it."""
        row = await self._reads.page(_LIST, **page.parameters, user_id=user_id)
        assert row is not None  # an aggregate always gives a row
        return row


class ProjectWriter:
    """Writes projects."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def create(self, new: ProjectCreate, *, user_id: int) -> ProjectRead:
        """Store a project with the caller as its owner."""
        return _project((await self._session.execute(_CREATE, {**new.model_dump(), "user_id": user_id})).one())

    async def update(
        self, project_id: int, changes: ProjectUpdate, *, user_id: int, condition: IfMatch = NO_CONDITION
    ) -> ProjectRead:
        """Change the given fields and return the project; without any difference nothing is written.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived and would stay so.
            PersonalProjectError: An Inbox would be archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        patch = changes.model_dump(exclude_unset=True)
        parameters = {"project_id": project_id, "user_id": user_id, "patch": patch, "versions": condition.versions}
        row = (await self._session.execute(_UPDATE, parameters)).one_or_none()
        if row is None:
            role = (await self._session.execute(_FIND_ROLE, {"project_id": project_id, "user_id": user_id})).scalar()
            if role is None:
                raise NotFoundError("project")
            require_owner(role)
            raise NotFoundError("project")
        if not row.allowed:
            raise PersonalProjectError("archived") if row.personal else ProjectArchivedError
        await self._check(project_id, row.found_version, condition)
        return _project(row)

    async def lock_for_deletion(self, project_id: int, *, user_id: int, condition: IfMatch = NO_CONDITION) -> None:
        """Lock a project against all other writers.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller is not its owner.
            PersonalProjectError: It is an Inbox.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        row = (await self._session.execute(_LOCK, {"project_id": project_id, "user_id": user_id})).one_or_none()
        if row is None:
            raise NotFoundError("project")
        require_owner(row.role)
        if row.inbox_of is not None:
            raise PersonalProjectError("deleted")
        await self._check(project_id, row.version, condition)

    async def delete(self, project_id: int, *, user_id: int) -> None:
        """Delete a locked project with everything in it."""
        await self._session.execute(_DELETE, {"project_id": project_id, "user_id": user_id})

    async def _check(self, project_id: int, version: int, condition: IfMatch) -> None:
        try:
            condition.check(version)
        except StaleVersionError as stale:
            raise await name_changes(
                self._session, stale, project_id=project_id, entity="project", entity_id=project_id
            ) from None
