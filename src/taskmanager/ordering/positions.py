"""SQL for the place of a row in its project's manual order."""


def position(alias: str) -> str:
    """Return SQL for the key of a row; one that was never moved has that of its id.

    Indexes have the same expression, and `position` is in COLLATE "C", which decides the whole.
    """
    return f"COALESCE({alias}.position, position_of({alias}.id))"


def lock_of_order(project_id: str, kind: str) -> str:
    """Return SQL that waits until no other transaction puts things of this kind in the order of a project.

    It has to be a statement of its own: what follows then sees what the others have committed.
    """
    return f"pg_advisory_xact_lock({_key(project_id, kind)})"


def share_of_order(project_id: str, kind: str) -> str:
    """Return SQL that waits until no transaction has that lock, and lets none get it before the end of this one."""
    return f"pg_advisory_xact_lock_shared({_key(project_id, kind)})"


def _key(project_id: str, kind: str) -> str:
    return f"hashtextextended('taskmanager {kind}', {project_id})"
