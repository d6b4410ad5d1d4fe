"""Every statement of deleting an account, the one change that spans all of a user's projects."""

from taskmanager.accounts.statements import administrator_steps, is_last_administrator
from taskmanager.database.statements import Write
from taskmanager.database.writes import TransactionRunner
from taskmanager.errors import LastAdministratorError
from taskmanager.events.deletion import DELETE_PROJECTS
from taskmanager.events.statements import EVENT_COLUMNS

# The user's memberships, and all of the projects that they own, are locked in one order: nobody joins, leaves or
# is assigned meanwhile.
_LOCK = Write(
    "lock projects of user",
    """
locked AS MATERIALIZED (
    SELECT o.project_id, o.user_id, o.role = 'owner' AND NOT u.disabled AS counts_as_owner, p.name,
           mine.role = 'owner' AS owned
    FROM project_members mine
    JOIN project_members o ON o.project_id = mine.project_id
    JOIN projects p ON p.id = mine.project_id
    JOIN users u ON u.id = o.user_id
    WHERE mine.user_id = :user_id AND (mine.role = 'owner' OR o.user_id = :user_id)
    ORDER BY o.project_id, o.user_id FOR UPDATE OF p FOR UPDATE OF o
)""",
    "SELECT * FROM locked",
)

_DELETE_PROJECTS = Write("delete projects of user", DELETE_PROJECTS, "SELECT true AS done")

_LEAVE_PROJECTS = Write(
    "leave projects of user",
    f"""
unassigned AS (
    UPDATE tasks t SET assignee_id = NULL, version = t.version + 1, updated_at = now()
    FROM project_members m
    WHERE m.user_id = :user_id AND t.project_id = m.project_id AND t.assignee_id = m.user_id
    RETURNING t.project_id, t.id, t.version
), left_projects AS (
    DELETE FROM project_members WHERE user_id = :user_id RETURNING project_id, user_id, role, version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version, 'updated',
           jsonb_build_object('assignee_id', jsonb_build_object('old', :user_id, 'new', NULL))
    FROM unassigned
    UNION ALL
    SELECT project_id, :user_id, 'member', user_id, version + 1, 'removed',
           jsonb_build_object('role', jsonb_build_object('old', role, 'new', NULL))
    FROM left_projects
)""",
    "SELECT true AS done",
)

# The rows show another author from now on, though their own fields and so their versions stay.
_FORGET_AUTHORSHIP = Write(
    "forget authorship",
    f"""
forgotten AS (
    UPDATE tasks SET created_by = NULL WHERE created_by = :user_id RETURNING project_id, id, version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, CAST(NULL AS bigint), 'task', id, version, 'anonymised', CAST('{{}}' AS jsonb) FROM forgotten
    UNION ALL
    SELECT project_id, NULL, 'comment', id, version, 'anonymised', '{{}}' FROM comments WHERE author_id = :user_id
)""",
    "SELECT true AS done",
)

_ANONYMISE = Write(
    "anonymise user",
    f"""
{administrator_steps(":user_id")}, gone_sessions AS (
    DELETE FROM sessions WHERE user_id = :user_id
), gone_notifications AS (
    DELETE FROM notifications WHERE user_id = :user_id
), gone_answers AS (
    DELETE FROM idempotency_keys WHERE user_id = :user_id
), gone_keys AS (
    DELETE FROM api_keys WHERE user_id = :user_id
), anonymised AS (
    UPDATE users
    SET username = NULL, email = NULL, password_hash = NULL, display_name = NULL, time_zone = DEFAULT,
        disabled = true, is_admin = false, deleted_at = now()
    WHERE id = :user_id AND password_hash = :password_hash AND NOT {is_last_administrator(":user_id")}
    RETURNING id
)""",
    f"""
SELECT EXISTS (SELECT FROM anonymised) AS is_anonymised, {is_last_administrator(":user_id")} AS is_last_administrator
""",
    {"password_hash": "text"},
)


class AccountDeleter:
    """Deletes accounts; call the methods in the order in which they stand."""

    def __init__(self, run: TransactionRunner) -> None:
        self._run = run

    async def anonymise(self, *, user_id: int, password_hash: str) -> bool:
        """Empty the user's row and end every credential; false if the password changed meanwhile.

        Raises:
            LastAdministratorError: Nobody else who can log in is an administrator.
        """
        row = await self._run.one(_ANONYMISE, user_id=user_id, password_hash=password_hash)
        assert row is not None  # nothing is looked for
        if row["is_last_administrator"]:
            raise LastAdministratorError
        is_anonymised: bool = row["is_anonymised"]
        return is_anonymised

    async def lock_projects(self, *, user_id: int) -> tuple[list[int], list[tuple[int, str]]]:
        """Lock the user's memberships and return the ids of their projects without other members.

        The second list has id and name of each project with other members but without another owner who can log in.
        """
        locked = await self._run.all(_LOCK, user_id=user_id)
        rows = [row for row in locked if row["owned"]]
        names = {row["project_id"]: row["name"] for row in rows}
        shared = {row["project_id"] for row in rows if row["user_id"] != user_id}
        co_owned = {row["project_id"] for row in rows if row["user_id"] != user_id and row["counts_as_owner"]}
        alone = [project_id for project_id in names if project_id not in shared]
        return alone, [(project_id, names[project_id]) for project_id in sorted(shared - co_owned)]

    async def delete_projects(self, project_ids: list[int], *, user_id: int) -> None:
        """Delete locked projects with everything in them."""
        await self._run.one(_DELETE_PROJECTS, project_ids=project_ids, user_id=user_id)

    async def leave_projects(self, *, user_id: int) -> None:
        """End all other memberships and take the user's assignments back."""
        await self._run.one(_LEAVE_PROJECTS, user_id=user_id)

    async def forget_authorship(self, *, user_id: int) -> None:
        """Take the user's id from the tasks that they created for others."""
        await self._run.one(_FORGET_AUTHORSHIP, user_id=user_id)
