"""Rules about who sees whom, and what is counted."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support.access_machine import AccessMachine, actors, archives, credentials, indexes
from tests.support.access_model import UNKNOWN_ID, USERS


class PeopleRules(AccessMachine):
    """People look at each other, and count tasks."""

    @rule(who=actors, credential=credentials, person=st.integers(0, len(USERS) - 1))
    def read_person(self, who: int, credential: str, person: int) -> None:
        """GET /users/{user_id}."""
        user_id, person_id = self.actor(who, None), self.model.users[person]
        refused = self.refusal(user_id, credential)
        if not refused and person_id not in self.model.visible_people(user_id):
            refused = 404
        answer = self.call(user_id, credential, "GET", f"/users/{person_id}", refused or 200)
        if not refused:
            assert answer.json() == {"id": person_id, "username": USERS[person], "display_name": None}

    @rule(who=actors, credential=credentials)
    def list_people(self, who: int, credential: str) -> None:
        """GET /users."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        query = {"id": [UNKNOWN_ID, *self.model.users]}
        answer = self.call(user_id, credential, "GET", "/users", refused or 200, params=query)
        if not refused:
            seen = self.model.visible_people(user_id)
            found = [person["id"] for person in answer.json()["users"]]
            assert found == [person_id for person_id in self.model.users if person_id in seen]

    @rule(who=actors, credential=credentials, wanted=st.lists(indexes, min_size=1, max_size=5))
    def read_tasks_by_id(self, who: int, credential: str, wanted: list[int]) -> None:
        """GET /tasks?id=, with the people in them."""
        user_id = self.actor(who, None)
        ids = list(dict.fromkeys(self.pick(self.task_ids, index) for index in wanted))
        refused = self.refusal(user_id, credential)
        query = {"id": ids, "include": ["people", "counts"]}
        answer = self.call(user_id, credential, "GET", "/tasks", refused or 200, params=query)
        if not refused:
            visible = self.model.visible_tasks(user_id)
            page = answer.json()
            assert [task["id"] for task in page["tasks"]] == [task_id for task_id in ids if task_id in visible]
            named = {person for task in page["tasks"] for person in (task["assignee_id"], task["created_by"])}
            assert set(page["people"]) == {str(person) for person in named - {None}}
            comments = Counter(comment.task_id for comment in self.model.comments.values())
            assert all(task["comment_count"] == comments[task["id"]] for task in page["tasks"])

    @rule(who=actors, credential=credentials, archived=archives)
    def count_tasks(self, who: int, credential: str, archived: str | None) -> None:
        """GET /tasks/counts by project."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential)
        query = {"by": "project"} | ({"archived": archived} if archived else {})
        answer = self.call(user_id, credential, "GET", "/tasks/counts", refused or 200, params=query)
        if not refused:
            counted = {one["key"]: one["count"] for one in answer.json()["counts"]}
            listed = {
                project_id
                for project_id in self.model.visible_projects(user_id)
                if archived == "any" or self.model.projects[project_id].archived == (archived == "true")
            }
            visible = self.model.visible_tasks(user_id).values()
            assert counted == Counter(task.project_id for task in visible if task.project_id in listed)

    @rule(who=actors, credential=credentials, index=indexes)
    def count_tasks_of_project(self, who: int, credential: str, index: int) -> None:
        """GET /projects/{project_id}/tasks/counts by assignee."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        path = f"/projects/{project_id}/tasks/counts"
        answer = self.call(user_id, credential, "GET", path, refused or 200, params={"by": "assignee"})
        if not refused:
            counted = {one["key"]: one["count"] for one in answer.json()["counts"]}
            tasks = [task for task in self.model.tasks.values() if task.project_id == project_id]
            assert counted == Counter(task.assignee_id for task in tasks)
