"""A model of who may do what, in a few dictionaries."""

from dataclasses import dataclass, field

# In every text that is stored, and so in no refusal.
MARKER = "classified"
UNKNOWN_ID = 2**52
RANKS = {"viewer": 1, "editor": 2, "owner": 3}
USERS = ("ann", "ben", "cat", "dan")


@dataclass
class Project:
    """A project as the model knows it."""

    roles: dict[int, str]
    personal: bool = False
    archived: bool = False


@dataclass
class Task:
    """A task as the model knows it."""

    project_id: int
    assignee_id: int | None = None
    creator_id: int | None = None


@dataclass
class Comment:
    """A comment as the model knows it."""

    task_id: int
    author_id: int


@dataclass
class Model:
    """Everything that decides who may do what, in a few dictionaries."""

    users: list[int] = field(default_factory=list)
    disabled: set[int] = field(default_factory=set)
    projects: dict[int, Project] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)

    def role(self, user_id: int, project_id: int | None) -> str | None:
        """Return somebody's role in a project, None also where there is none."""
        project = self.projects.get(project_id or 0)
        return project.roles.get(user_id) if project else None

    def may_assign(self, user_id: int, project_id: int | None) -> bool:
        """Return whether somebody can be given a task of a project."""
        return self.role(user_id, project_id) is not None and user_id not in self.disabled

    def has_other_owner(self, project_id: int, user_id: int) -> bool:
        """Return whether a project has an owner beside this one who can log in."""
        roles = self.projects[project_id].roles
        return any(role == "owner" for other, role in roles.items() if other != user_id and other not in self.disabled)

    def visible_projects(self, user_id: int) -> set[int]:
        """Return the projects that a user is a member of."""
        return {project_id for project_id, project in self.projects.items() if user_id in project.roles}

    def visible_tasks(self, user_id: int) -> dict[int, Task]:
        """Return the tasks that a user may see."""
        visible = self.visible_projects(user_id)
        return {task_id: task for task_id, task in self.tasks.items() if task.project_id in visible}

    def visible_people(self, user_id: int) -> set[int]:
        """Return the people whom a user may see: members, and who has created or said something that is there now."""
        tasks = self.visible_tasks(user_id)
        members = {other for project_id in self.visible_projects(user_id) for other in self.projects[project_id].roles}
        authors = {comment.author_id for comment in self.comments.values() if comment.task_id in tasks}
        return members | authors | {task.creator_id for task in tasks.values() if task.creator_id is not None}

    def project_of(self, task_id: int) -> int | None:
        """Return the project that a task is in."""
        task = self.tasks.get(task_id)
        return task.project_id if task else None

    def end_membership(self, project_id: int, user_id: int) -> None:
        """Remove a member and take their tasks back."""
        del self.projects[project_id].roles[user_id]
        for task in self.tasks.values():
            if task.project_id == project_id and task.assignee_id == user_id:
                task.assignee_id = None

    def delete_task(self, task_id: int) -> None:
        """Delete a task with its comments."""
        del self.tasks[task_id]
        self.comments = {key: comment for key, comment in self.comments.items() if comment.task_id != task_id}

    def delete_project(self, project_id: int) -> None:
        """Delete a project with its tasks."""
        del self.projects[project_id]
        for task_id in [key for key, task in self.tasks.items() if task.project_id == project_id]:
            self.delete_task(task_id)
