"""Pure rules of access to a project, as every writing statement reports it."""

from taskmanager.errors import ProjectArchivedError, RoleTooLowError
from taskmanager.roles import Role


def require_writer(role: str, *, archived: bool) -> None:
    """Check that a member may write tasks and comments now.

    Raises:
        RoleTooLowError: The member is a viewer.
        ProjectArchivedError: The project is archived.
    """
    if not Role(role).includes(Role.EDITOR):
        raise RoleTooLowError(Role.EDITOR)
    if archived:
        raise ProjectArchivedError


def require_owner(role: str) -> None:
    """Check that a member may manage the project.

    Raises:
        RoleTooLowError: The member is not an owner.
    """
    if role != Role.OWNER:
        raise RoleTooLowError(Role.OWNER)
