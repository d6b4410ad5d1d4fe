"""Who may do what in a project, in Python and in SQL."""

from enum import StrEnum


class Role(StrEnum):
    """What a member may do: viewers read, editors also write tasks and comments, owners also manage the project."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"

    def includes(self, other: "Role") -> bool:
        """Return whether this role may do everything that the other may."""
        return _ASCENDING.index(self) >= _ASCENDING.index(other)


_ASCENDING = (Role.VIEWER, Role.EDITOR, Role.OWNER)
_WRITERS = ", ".join(f"'{role}'" for role in Role if role.includes(Role.EDITOR))


def may_write(role: str, archived: str) -> str:
    """Return SQL for whether a member with this role may write in a project that is `archived` or not."""
    return f"({role} IN ({_WRITERS}) AND NOT {archived})"
