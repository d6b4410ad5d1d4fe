"""Rules about lists, and about accounts that are disabled."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support.access_machine import AccessMachine, actors, credentials, indexes
from tests.support.access_model import USERS
from tests.support.credentials import API


class ListRules(AccessMachine):
    """People read lists at random."""

    @rule(who=actors, credential=credentials)
    def list_projects(self, who: int, credential: str) -> None:
        """GET /projects."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        answer = self.call(user_id, credential, "GET", "/projects", refused or 200)
        if not refused:
            found = {project["id"]: project["role"] for project in answer.json()["projects"]}
            assert found == {p: self.model.projects[p].roles[user_id] for p in self.model.visible_projects(user_id)}

    @rule(who=actors, credential=credentials)
    def list_notifications(self, who: int, credential: str) -> None:
        """GET /notifications."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        answer = self.call(user_id, credential, "GET", "/notifications", refused or 200, params={"limit": 100})
        if not refused:
            told = {(n["task_id"], n["project_id"]) for n in answer.json()["notifications"]}
            assert told <= {(key, task.project_id) for key, task in self.model.visible_tasks(user_id).items()}

    @rule(who=actors, credential=credentials, filters=st.lists(indexes, max_size=3), mine=st.booleans())
    def list_tasks(self, who: int, credential: str, filters: list[int], mine: bool) -> None:
        """GET /tasks, with and without filters."""
        user_id = self.actor(who, None)
        named = [self.pick(self.project_ids, index) for index in filters]
        query: list[tuple[str, str | int]] = [("limit", 100), *(("project_id", project_id) for project_id in named)]
        if mine:
            query.append(("assignee", "me"))
        refused = self.refusal(user_id, credential)
        answer = self.call(user_id, credential, "GET", "/tasks", refused or 200, params=query)
        if not refused:
            wanted = {
                task_id: (task.project_id, task.assignee_id)
                for task_id, task in self.model.visible_tasks(user_id).items()
                if (not named or task.project_id in named) and (not mine or task.assignee_id == user_id)
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

    @rule(person=st.integers(0, len(USERS) - 1), action=st.sampled_from(["disable", "enable", "enable", "enable"]))
    def disable_user(self, person: int, action: str) -> None:
        """POST /admin/users/{user_id}/disable and enable; by nobody else than an administrator."""
        user_id = self.model.users[person]
        path = f"/admin/users/{user_id}/{action}"
        self.call(user_id, "login", "POST", path, 401)
        self.call(user_id, "full key", "POST", path, 403)
        answer = self.service.run(self.service.client.post(API + path, headers=self.admin_headers))
        assert answer.status_code == 200
        if action == "disable":
            self.model.disabled.add(user_id)
        else:
            self.model.disabled.discard(user_id)
