"""Who may do what in a project."""

from enum import StrEnum


class Role(StrEnum):
    """What a member may do: viewers read, editors also write tasks and comments, owners also manage the project."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


WRITERS = (Role.OWNER, Role.EDITOR)
