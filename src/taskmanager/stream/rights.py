"""What a stream may send: the rights of the moment at which it began, changed by its own events in their order."""

from collections.abc import Collection, Iterable
from typing import Final

from taskmanager.following.positions import START
from taskmanager.stream.log_events import LogEvent

_NONE: Final[frozenset[int]] = frozenset()


class Filters:
    """Of what a user wants to hear; None is everything."""

    __slots__ = ("entities", "project_ids", "user_id")

    def __init__(
        self, user_id: int, project_ids: Collection[int] | None = None, entities: Collection[str] | None = None
    ) -> None:
        self.user_id = user_id
        self.project_ids = frozenset(project_ids) if project_ids else None
        self.entities = frozenset(entities) if entities else None

    def wants(self, project_id: int) -> bool:
        """Return whether a project is one of them."""
        return self.project_ids is None or project_id in self.project_ids


class Rights:
    """The `projects` whose events a stream sends, which events of the user's own memberships change.

    `visible` are those that the user saw in a snapshot in which everything before `horizon` (era and transaction) had
    happened; `gained` those of them that were added behind the stream's position. An event before the horizon gives no
    right to a project that was lost again by then.
    """

    __slots__ = ("_filters", "_horizon", "_visible", "projects")

    def __init__(
        self, filters: Filters, visible: Iterable[int], gained: Iterable[int], horizon: tuple[int, int]
    ) -> None:
        self.projects = set(visible)
        self._filters = filters
        self._visible = frozenset(self.projects)
        self._horizon = horizon
        self.projects.difference_update(gained)

    def admit(self, event: LogEvent) -> bool:
        """Take over what the next event changes, and return whether it is sent."""
        filters, project_id = self._filters, event.project_id
        if not filters.wants(project_id):
            return False
        if self._visible and event.position[:2] >= self._horizon:
            self._visible = _NONE  # the beginning is over
        if event.member_id == filters.user_id and event.action in {"added", "removed"}:
            if event.action == "removed":
                self.projects.discard(project_id)
            else:
                self._gain(event)
            return True
        if event.founder_id == filters.user_id:
            self._gain(event)
        if project_id not in self.projects or (filters.entities is not None and event.entity not in filters.entities):
            return False
        # A row that was read after the user had lost the project may say what they are not to know.
        return not event.lost or event.lost.get((filters.user_id, project_id), START) < event.position

    def _gain(self, event: LogEvent) -> None:
        if event.position[:2] >= self._horizon or event.project_id in self._visible:
            self.projects.add(event.project_id)
