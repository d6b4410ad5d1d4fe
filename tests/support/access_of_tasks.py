"""Rules about tasks and their comments."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support.access_machine import AccessMachine, actors, credentials, indexes, maybe_users
from tests.support.access_model import MARKER, UNKNOWN_ID, Comment, Project, Task


class TaskRules(AccessMachine):
    """People create, assign, move and delete tasks at random."""

    @rule(who=actors, credential=credentials, index=indexes, assignee=maybe_users, nested=st.booleans())
    def create_task(self, who: int, credential: str, index: int, assignee: int | None, nested: bool) -> None:
        """POST /tasks and POST /projects/{project_id}/tasks."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        assignee_id = None if assignee is None else self.model.users[assignee]
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        if not refused and assignee_id and not self.model.may_assign(assignee_id, project_id):
            refused = 422
        body: dict[str, Any] = {"title": f"A {MARKER} task", "assignee_id": assignee_id}
        path = f"/projects/{project_id}/tasks" if nested else "/tasks"
        if not nested:
            body["project_id"] = project_id
        answer = self.call(user_id, credential, "POST", path, refused or 201, body)
        if not refused:
            self.model.tasks[answer.json()["id"]] = Task(project_id, assignee_id, user_id)
            self.task_ids.append(answer.json()["id"])

    @rule(who=actors, credential=credentials)
    def create_task_in_inbox(self, who: int, credential: str) -> None:
        """POST /tasks without a project."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential, write=True)
        answer = self.call(user_id, credential, "POST", "/tasks", refused or 201, {"title": f"A {MARKER} task"})
        if not refused:
            project_id = answer.json()["project_id"]
            assert self.model.projects[project_id] == Project({user_id: "owner"}, personal=True)
            self.model.tasks[answer.json()["id"]] = Task(project_id, None, user_id)
            self.task_ids.append(answer.json()["id"])

    @rule(who=actors, credential=credentials, index=indexes, project=indexes, nested=st.booleans())
    def read_task(self, who: int, credential: str, index: int, project: int, nested: bool) -> None:
        """GET a task, at times under a project that it is not in."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        path = f"/tasks/{task_id}"
        if nested:
            named = project_id if project % 3 != 2 and project_id else self.pick(self.project_ids, project)
            path = f"/projects/{named}/tasks/{task_id}"
            refused = refused or (None if named == project_id else 404)
        answer = self.call(user_id, credential, "GET", path, refused or 200)
        if not refused:
            task = self.model.tasks[task_id]
            assert (answer.json()["project_id"], answer.json()["assignee_id"]) == (task.project_id, task.assignee_id)

    @rule(
        who=actors,
        credential=credentials,
        index=indexes,
        assignee=maybe_users,
        method=st.sampled_from(["PUT", "PATCH"]),
    )
    def assign_task(self, who: int, credential: str, index: int, assignee: int | None, method: str) -> None:
        """PUT and PATCH a task."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        assignee_id = None if assignee is None else self.model.users[assignee]
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        if not refused and assignee_id and not self.model.may_assign(assignee_id, project_id):
            refused = None if self.model.tasks[task_id].assignee_id == assignee_id else 422
        body = {"assignee_id": assignee_id, "title": f"Another {MARKER} title"}
        self.call(user_id, credential, method, f"/tasks/{task_id}", refused or 200, body)
        if not refused:
            self.model.tasks[task_id].assignee_id = assignee_id

    @rule(
        who=actors,
        credential=credentials,
        some=st.lists(indexes, min_size=1, max_size=3),
        assignee=maybe_users,
        sure=st.integers(0, 3),
    )
    def change_tasks(self, who: int, credential: str, some: list[int], assignee: int | None, sure: int) -> None:
        """PATCH and, at times, DELETE several tasks at once."""
        task_ids = list(dict.fromkeys(self.pick(self.task_ids, index) for index in some))
        projects = [self.model.project_of(task_id) for task_id in task_ids]
        user_id = self.actor(who, projects[0])
        assignee_id = None if assignee is None else self.model.users[assignee]
        refused = self.refusal(user_id, credential, write=True)
        if not refused and None in {self.model.role(user_id, project_id) for project_id in projects}:
            refused = 404
        if not refused and len(set(projects)) > 1:
            refused = 422
        refused = refused or self.refusal(user_id, credential, project_id=projects[0], least="editor", write=True)
        if sure == 3:
            path = "/tasks/bulk?" + "&".join(f"id={task_id}" for task_id in task_ids)
            self.call(user_id, credential, "DELETE", path, refused or 204)
            for task_id in [] if refused else task_ids:
                self.model.delete_task(task_id)
            return
        if not refused and assignee_id and not self.model.may_assign(assignee_id, projects[0]):
            are_theirs = all(self.model.tasks[task_id].assignee_id == assignee_id for task_id in task_ids)
            refused = None if are_theirs else 422
        body = {"ids": task_ids, "set": {"assignee_id": assignee_id}}
        self.call(user_id, credential, "PATCH", "/tasks/bulk", refused or 200, body)
        for task_id in [] if refused else task_ids:
            self.model.tasks[task_id].assignee_id = assignee_id

    @rule(who=actors, credential=credentials, index=indexes, beside=indexes, side=st.sampled_from(["before", "after"]))
    def order_task(self, who: int, credential: str, index: int, beside: int, side: str) -> None:
        """POST a move of a task next to another one, at times one of another project."""
        task_id, neighbour_id = self.pick(self.task_ids, index), self.pick(self.task_ids, beside)
        project_id, other = self.model.project_of(task_id), self.model.project_of(neighbour_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, write=True)
        if not refused and task_id == neighbour_id:
            refused = 422
        if not refused and None in {self.model.role(user_id, project) for project in (project_id, other)}:
            refused = 404
        if not refused and project_id != other:
            refused = 422
        refused = refused or self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        body = {side: neighbour_id, "status": "pending"}
        answer = self.call(user_id, credential, "POST", f"/tasks/{task_id}/move", refused or 200, body)
        if not refused:
            assert answer.json()["project_id"] == project_id

    @rule(who=actors, credential=credentials, index=indexes, goal=indexes, nested=st.booleans())
    def move_task(self, who: int, credential: str, index: int, goal: int, nested: bool) -> None:
        """PATCH a task with another project."""
        task_id, target_id = self.pick(self.task_ids, index), self.pick(self.project_ids, goal)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        # First all that is not there, then all that is not allowed, then all that is archived.
        ends = [
            self.refusal(user_id, credential, project_id=project, least="editor", write=True)
            for project in (project_id, target_id)
        ]
        refused = next((status for status in (401, 404, 403, 409) if status in ends), None)
        if credential == "reading key" and refused != 401:
            refused = 403
        path = f"/projects/{project_id or UNKNOWN_ID}/tasks/{task_id}" if nested else f"/tasks/{task_id}"
        answer = self.call(user_id, credential, "PATCH", path, refused or 200, {"project_id": target_id})
        if not refused:
            task = self.model.tasks[task_id]
            task.project_id = target_id
            if task.assignee_id not in self.model.projects[target_id].roles:
                task.assignee_id = None
            assert (answer.json()["project_id"], answer.json()["assignee_id"]) == (target_id, task.assignee_id)

    @rule(who=actors, credential=credentials, index=indexes)
    def delete_task(self, who: int, credential: str, index: int) -> None:
        """DELETE a task."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        self.call(user_id, credential, "DELETE", f"/tasks/{task_id}", refused or 204)
        if not refused:
            self.model.delete_task(task_id)


class CommentRules(AccessMachine):
    """People write, read, change and delete comments at random."""

    @rule(who=actors, credential=credentials, index=indexes)
    def create_comment(self, who: int, credential: str, index: int) -> None:
        """POST a comment."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="editor", write=True)
        body = {"body": f"A {MARKER} comment"}
        answer = self.call(user_id, credential, "POST", f"/tasks/{task_id}/comments", refused or 201, body)
        if not refused:
            self.model.comments[answer.json()["id"]] = Comment(task_id, user_id)
            self.comment_ids.append((task_id, answer.json()["id"]))

    @rule(
        who=actors,
        credential=credentials,
        index=indexes,
        swap=indexes,
        method=st.sampled_from(["GET", "PUT", "PATCH", "DELETE"]),
    )
    def use_comment(self, who: int, credential: str, index: int, swap: int, method: str) -> None:
        """Read, change and delete a comment, at times of another task."""
        task_id, comment_id = self.pick_comment(index, swap=swap)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        comment = self.model.comments.get(comment_id)
        write = method != "GET"
        refused = self.refusal(
            user_id, credential, project_id=project_id, least="viewer", write=write, in_archived=True
        )
        if not refused and (comment is None or comment.task_id != task_id):
            refused = 404
        if not refused and write and comment is not None:
            role = self.model.role(user_id, project_id)
            if role == "viewer" or (role == "editor" and comment.author_id != user_id):
                refused = 403
            elif self.model.projects[project_id or 0].archived:
                refused = 409
        body = {"body": f"Another {MARKER} comment"} if method in {"PUT", "PATCH"} else None
        ok = 204 if method == "DELETE" else 200
        answer = self.call(user_id, credential, method, f"/tasks/{task_id}/comments/{comment_id}", refused or ok, body)
        if not refused and method == "DELETE":
            del self.model.comments[comment_id]
        elif not refused and comment is not None:
            assert answer.json()["author"]["id"] == comment.author_id
