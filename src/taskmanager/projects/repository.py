"""Every statement on projects; membership is part of each WHERE clause."""

from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import Document, FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import Runner, WriteRunner, Written
from taskmanager.errors import NotFoundError, PersonalProjectError, ProjectArchivedError
from taskmanager.events.deletion import DELETE_PROJECTS
from taskmanager.events.followed import FollowedEntity
from taskmanager.events.repository import check_version
from taskmanager.events.statements import EVENT_COLUMNS, changed_fields
from taskmanager.http.pagination import Page
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.projects.access import require_owner
from taskmanager.projects.schemas import ProjectCreate, ProjectRead, ProjectUpdate

_OWN_PROJECT = json_object(ProjectRead, "p", personal="p.inbox_of IS NOT NULL", role="'owner'")
_CREATE = Write(
    "create project",
    f"""
p AS (
    INSERT INTO projects (name, description) SELECT :name, :description WHERE :user_id IS NOT NULL RETURNING *
), membership AS (
    INSERT INTO project_members (project_id, user_id, role) SELECT id, :user_id, 'owner' FROM p
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT id, :user_id, 'project', id, version, 'created',
           jsonb_build_object('name', jsonb_build_object('old', NULL, 'new', name))
    FROM p
)""",
    f"SELECT true AS done, id, id AS project_id, version, convert_to({_OWN_PROJECT}, 'UTF8') AS body FROM p",
    {"name": "text", "description": "text"},
)

_VISIBLE = """
projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id WHERE p.id = :project_id
"""
_PROJECT = json_object(ProjectRead, "p", personal="p.inbox_of IS NOT NULL", role="m.role")
FOLLOWED = FollowedEntity(
    "project",
    "projects",
    json_object(ProjectRead, "r", personal="r.inbox_of IS NOT NULL", role="m.role"),
    ProjectRead,
    project_id="r.id",
    row_for_all=json_object(ProjectRead, "r", {"role"}, personal="r.inbox_of IS NOT NULL"),
)
_FIND = Statement(
    "find project", f"SELECT p.version, convert_to({_PROJECT}, 'UTF8') AS body FROM {_VISIBLE}", shared=True
)
_FIND_VERSION = Statement("find version of project", f"SELECT p.version FROM {_VISIBLE}", shared=True)


def _list(name: str, condition: str) -> Statement:
    rows = f"""
        SELECT p.*, p.inbox_of IS NOT NULL AS personal, m.role, p.created_at AS key_time, p.id AS key_id
        FROM project_members m JOIN projects p ON p.id = m.project_id
        WHERE m.user_id = :user_id AND {condition} AND {after_key("p.created_at", "p.id")}
        ORDER BY p.created_at, p.id LIMIT :limit
    """
    page = json_page(rows, json_object(ProjectRead, "row"))
    return Statement(name, page, {"archived": "boolean"}, shared=True, most_shared=32)


_LIST = _list("list projects", "true")
_LIST_ARCHIVED = _list("list archived projects or others", "p.archived = :archived")

# The row is locked before it is compared, so that old and new values in the log are those of this very change.
_UPDATE = Write(
    "update project",
    f"""
access AS (
    SELECT project_id, role FROM project_members WHERE project_id = :project_id AND user_id = :user_id
), found AS MATERIALIZED (
    SELECT p AS old FROM projects p JOIN access a ON a.project_id = p.id
    WHERE a.role = 'owner' FOR UPDATE OF p
), wanted AS MATERIALIZED (
    SELECT old, jsonb_populate_record(old, :patch) AS new FROM found
    WHERE (NOT (old).archived OR :patch -> 'archived' = 'false')
      AND ((old).inbox_of IS NULL OR :patch -> 'archived' IS DISTINCT FROM 'true')
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
)""",
    f"""
SELECT a.role, EXISTS (SELECT FROM wanted) AS is_allowed, (f.old).version AS found_version,
       p.inbox_of IS NOT NULL AS is_personal,
       EXISTS (SELECT FROM wanted) AND (:versions IS NULL OR (f.old).version = ANY(:versions)) AS done,
       p.id, a.project_id, p.version, convert_to({_OWN_PROJECT}, 'UTF8') AS body
FROM access a LEFT JOIN found f ON true LEFT JOIN changed c ON true
CROSS JOIN LATERAL (SELECT (COALESCE(c.p, f.old)).*) AS p
""",
    {"patch": "jsonb", "versions": "integer[]"},
)

_LOCK = Write(
    "lock project",
    """
found AS MATERIALIZED (
    SELECT p.id, p.inbox_of, p.version, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :project_id FOR UPDATE OF p
)""",
    "SELECT * FROM found",
)

_DELETE = Write(
    "delete project",
    DELETE_PROJECTS,
    """
    SELECT true AS done, id, id AS project_id, CAST(NULL AS integer) AS version, CAST(NULL AS bytea) AS body FROM gone
    """,
)


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

    async def list_page(self, page: Page, *, user_id: int, archived: bool | None) -> FoundPage:
        """Return a page of the caller's projects, oldest first, as `json_page` has it.

        With `archived` it is of archived ones, or of others, alone.
        """
        if archived is None:
            row = await self._reads.page(_LIST, **page.parameters, user_id=user_id)
        else:
            row = await self._reads.page(_LIST_ARCHIVED, **page.parameters, user_id=user_id, archived=archived)
        assert row is not None  # an aggregate always gives a row
        return row


class ProjectWriter:
    """Writes projects."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def create(self, new: ProjectCreate, *, user_id: int) -> Written:
        """Store a project with the caller as its owner."""
        row = await self._writes.one(_CREATE, **new.model_dump(), user_id=user_id)
        assert row is not None  # nothing is looked for
        return Written(row["id"], row["version"], row["body"])

    async def update(
        self, project_id: int, changes: ProjectUpdate, *, user_id: int, condition: IfMatch = NO_CONDITION
    ) -> Written:
        """Change the given fields and return the project; without any difference nothing is written.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller is not its owner.
            ProjectArchivedError: It is archived and would stay so.
            PersonalProjectError: An Inbox would be archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        patch = changes.model_dump_json(exclude_unset=True)
        row = await self._writes.one(
            _UPDATE, project_id=project_id, user_id=user_id, patch=patch, versions=condition.versions
        )
        if row is None:
            raise NotFoundError("project")
        if not row["done"]:
            require_owner(row["role"])
            if row["found_version"] is None:  # deleted by somebody else between the look-up and the lock
                raise NotFoundError("project")
            if not row["is_allowed"]:
                raise PersonalProjectError("archived") if row["is_personal"] else ProjectArchivedError
            await self._check(self._writes, project_id, user_id, row["found_version"], condition)
        return Written(row["id"], row["version"], row["body"])

    async def delete(self, project_id: int, *, user_id: int, condition: IfMatch = NO_CONDITION) -> None:
        """Delete a project with everything in it.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller is not its owner.
            PersonalProjectError: It is an Inbox.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is at another version than the condition names.
        """
        async with self._writes.transaction(long=True) as run:
            row = await run.one(_LOCK, project_id=project_id, user_id=user_id)
            if row is None:
                raise NotFoundError("project")
            require_owner(row["role"])
            if row["inbox_of"] is not None:
                raise PersonalProjectError("deleted")
            await self._check(run, project_id, user_id, row["version"], condition)
            await run.last(_DELETE, project_ids=[project_id], user_id=user_id)

    async def _check(self, run: Runner, project_id: int, user_id: int, version: int, condition: IfMatch) -> None:
        await check_version(run, condition, version, user_id=user_id, entity="project", entity_id=project_id)
