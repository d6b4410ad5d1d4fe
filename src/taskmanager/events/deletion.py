"""The steps that delete projects, and what the log keeps of what is gone."""

from taskmanager.events.statements import EVENT_COLUMNS


def emptied(condition: str) -> str:
    """Return the step that takes the old and new values from events, and leaves the events to those who follow."""
    return f"emptied AS (UPDATE events SET changes = '{{}}' WHERE changes <> '{{}}' AND {condition})"


# Each member's own event tells them that they have lost the project, even if they come back much later.
DELETE_PROJECTS = f"""
{emptied("project_id = ANY(:project_ids)")}, gone_tasks AS (
    DELETE FROM tasks WHERE project_id = ANY(:project_ids)
), gone_members AS (
    DELETE FROM project_members WHERE project_id = ANY(:project_ids) RETURNING project_id, user_id, version
), gone AS (
    DELETE FROM projects WHERE id = ANY(:project_ids) RETURNING id, version
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'member', user_id, version + 1, 'removed', CAST('{{}}' AS jsonb) FROM gone_members
    UNION ALL
    SELECT id, :user_id, 'project', id, version + 1, 'deleted', '{{}}' FROM gone
)"""
