"""Rules about lists, and about accounts that are disabled."""

from typing import Any

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support.access_machine import AccessMachine, actors, archives, credentials, indexes, roles
from tests.support.access_model import USERS
from tests.support.credentials import API


class ListRules(AccessMachine):
    """People read lists at random."""

    def is_listed(self, project_id: int, archived: str) -> bool:
        """Return whether a project is in a list of all projects."""
        return archived == "any" or self.model.projects[project_id].archived == (archived == "true")

    @rule(who=actors, credential=credentials, archived=archives)
    def list_projects(self, who: int, credential: str, archived: str | None) -> None:
        """GET /projects, all of them unless told otherwise."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        query = {"limit": 100} | ({"archived": archived} if archived else {})
        answer = self.call(user_id, credential, "GET", "/projects", refused or 200, params=query)
        if not refused:
            found = {project["id"]: project["role"] for project in answer.json()["projects"]}
            visible = self.model.visible_projects(user_id)
            listed = {project_id for project_id in visible if self.is_listed(project_id, archived or "any")}
            assert found == {project_id: self.model.projects[project_id].roles[user_id] for project_id in listed}

    @rule(who=actors, credential=credentials, archived=archives)
    def list_notifications(self, who: int, credential: str, archived: str | None) -> None:
        """GET /notifications, those of archived projects if asked for."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        query = {"limit": 100} | ({"archived": archived} if archived else {})
        answer = self.call(user_id, credential, "GET", "/notifications", refused or 200, params=query)
        if not refused:
            told = {(n["task_id"], n["project_id"]) for n in answer.json()["notifications"]}
            assert told <= {
                (key, task.project_id)
                for key, task in self.model.visible_tasks(user_id).items()
                if self.is_listed(task.project_id, archived or "false")
            }
            comments = {n["comment_id"] for n in answer.json()["notifications"]} - {None}
            assert comments <= set(self.model.comments)

    @rule(
        who=actors, credential=credentials, filters=st.lists(indexes, max_size=3), mine=st.booleans(), archived=archives
    )
    def list_tasks(self, who: int, credential: str, filters: list[int], mine: bool, archived: str | None) -> None:
        """GET /tasks, with and without filters."""
        user_id = self.actor(who, None)
        named = [self.pick(self.project_ids, index) for index in filters]
        query: list[tuple[str, str | int]] = [("limit", 100), *(("project_id", project_id) for project_id in named)]
        if mine:
            query.append(("assignee", "me"))
        if archived:
            query.append(("archived", archived))
        refused = self.refusal(user_id, credential)
        answer = self.call(user_id, credential, "GET", "/tasks", refused or 200, params=query)
        if not refused:
            wanted = {
                task_id: (task.project_id, task.assignee_id)
                for task_id, task in self.model.visible_tasks(user_id).items()
                if (task.project_id in named if named else self.is_listed(task.project_id, archived or "false"))
                and (not mine or task.assignee_id == user_id)
            }
            found = {task["id"]: (task["project_id"], task["assignee_id"]) for task in answer.json()["tasks"]}
            assert found == wanted
            assert answer.json()["total"] == len(wanted)

    @rule(who=actors, credential=credentials, index=indexes, what=st.sampled_from(["tasks", "members", "activity"]))
    def list_in_project(self, who: int, credential: str, index: int, what: str) -> None:
        """GET /projects/{project_id}/tasks, members and activity."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        path, query = f"/projects/{project_id}/{what}", {"limit": 100} if what == "tasks" else None
        answer = self.call(user_id, credential, "GET", path, refused or 200, params=query)
        if refused:
            return
        if what == "members":
            members = {member["user_id"]: member["role"] for member in answer.json()["members"]}
            assert members == self.model.projects[project_id].roles
        elif what == "activity":
            events = answer.json()["events"]
            assert {event["entity_id"] for event in events if event["entity"] == "project"} <= {project_id}
        else:
            found = {task["id"] for task in answer.json()["tasks"]}
            assert found == {key for key, task in self.model.tasks.items() if task.project_id == project_id}

    @rule(who=actors, credential=credentials, index=indexes)
    def list_comments(self, who: int, credential: str, index: int) -> None:
        """GET /tasks/{task_id}/comments."""
        task_id = self.pick(self.task_ids, index)
        project_id = self.model.project_of(task_id)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        answer = self.call(user_id, credential, "GET", f"/tasks/{task_id}/comments", refused or 200)
        if not refused:
            found = {comment["id"] for comment in answer.json()["comments"]}
            assert found == {key for key, comment in self.model.comments.items() if comment.task_id == task_id}


class AccountRules(AccessMachine):
    """People are disabled and enabled at random."""

    def administer(self, method: str, path: str, wanted: int, json: Any = None) -> httpx.Response:
        """Send a request of the administrator, whose status has to be the wanted one, and count it."""
        response = self.service.run(
            self.service.client.request(method, API + path, json=json, headers=self.admin_headers)
        )
        type(self).steps += 1
        type(self).statuses[response.status_code] += 1
        assert response.status_code == wanted, f"{method} {path} {json or ''}: {response.text}"
        return response

    @rule(index=indexes, person=st.integers(0, len(USERS) - 1), role=roles)
    def hand_over(self, index: int, person: int, role: str) -> None:
        """PUT /admin/projects/{project_id}/members/{user_id}; not too often, or everybody owns everything."""
        if index % 3:
            return
        project_id, user_id = self.pick(self.project_ids, index // 3), self.model.users[person]
        path = f"/admin/projects/{project_id}/members/{user_id}"
        self.call(user_id, "login", "PUT", path, 401, {"role": role})
        self.call(user_id, "full key", "PUT", path, 403, {"role": role})
        project = self.model.projects.get(project_id)
        wanted = 200
        if project is None:
            wanted = 404
        elif project.personal:
            wanted = 409
        elif user_id not in project.roles and user_id in self.model.disabled:
            wanted = 404
        elif (
            role != "owner"
            and project.roles.get(user_id) == "owner"
            and not self.model.has_other_owner(project_id, user_id)
        ):
            wanted = 409
        self.administer("PUT", path, wanted, {"role": role})
        if wanted == 200 and project is not None:
            project.roles[user_id] = role

    @rule()
    def list_ownerless(self) -> None:
        """GET /admin/projects/without-owner."""
        answer = self.administer("GET", "/admin/projects/without-owner?limit=100", 200)
        assert {project["id"] for project in answer.json()["projects"]} == {
            project_id
            for project_id, project in self.model.projects.items()
            if not project.personal and not self.model.has_other_owner(project_id, 0)
        }

    @rule(person=st.integers(0, len(USERS) - 1), action=st.sampled_from(["disable", "enable", "enable", "enable"]))
    def disable_user(self, person: int, action: str) -> None:
        """POST /admin/users/{user_id}/disable and enable; by nobody else than an administrator."""
        user_id = self.model.users[person]
        path = f"/admin/users/{user_id}/{action}"
        self.call(user_id, "login", "POST", path, 401)
        self.call(user_id, "full key", "POST", path, 403)
        self.administer("POST", path, 200)
        if action == "disable":
            self.model.disabled.add(user_id)
        else:
            self.model.disabled.discard(user_id)
