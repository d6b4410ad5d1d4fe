"""Rules about projects and their members."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support.access_machine import AccessMachine, actors, credentials, indexes, roles
from tests.support.access_model import MARKER, RANKS, USERS, Project


class ProjectRules(AccessMachine):
    """People create, share, change and delete projects at random."""

    @rule(who=actors, credential=credentials)
    def create_project(self, who: int, credential: str) -> None:
        """POST /projects."""
        user_id = self.actor(who, None)
        refused = self.refusal(user_id, credential, write=True)
        answer = self.call(user_id, credential, "POST", "/projects", refused or 201, {"name": f"A {MARKER} project"})
        if not refused:
            self.model.projects[answer.json()["id"]] = Project({user_id: "owner"})
            self.project_ids.append(answer.json()["id"])

    @rule(who=actors, credential=credentials, index=indexes)
    def read_project(self, who: int, credential: str, index: int) -> None:
        """GET /projects/{project_id}."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer")
        answer = self.call(user_id, credential, "GET", f"/projects/{project_id}", refused or 200)
        if not refused:
            project = self.model.projects[project_id]
            found = answer.json()
            assert (found["role"], found["archived"]) == (project.roles[user_id], project.archived)

    @rule(who=actors, credential=credentials, index=indexes, archived=st.booleans())
    def archive_project(self, who: int, credential: str, index: int, archived: bool) -> None:
        """PATCH /projects/{project_id} with `archived`."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(
            user_id, credential, project_id=project_id, least="owner", write=True, in_archived=not archived
        )
        if not refused and archived and self.model.projects[project_id].personal:
            refused = 409
        self.call(user_id, credential, "PATCH", f"/projects/{project_id}", refused or 200, {"archived": archived})
        if not refused:
            self.model.projects[project_id].archived = archived

    @rule(who=actors, credential=credentials, index=indexes, method=st.sampled_from(["PUT", "PATCH"]))
    def rename_project(self, who: int, credential: str, index: int, method: str) -> None:
        """PUT and PATCH /projects/{project_id} with a name."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="owner", write=True)
        body = {"name": f"Another {MARKER} name"}
        self.call(user_id, credential, method, f"/projects/{project_id}", refused or 200, body)

    @rule(who=actors, credential=credentials, index=indexes, sure=st.booleans())
    def delete_project(self, who: int, credential: str, index: int, sure: bool) -> None:
        """DELETE /projects/{project_id}; not too often, or little is left to play with."""
        project_id = self.pick(self.project_ids, index)
        user_id = self.actor(who, project_id)
        refused = self.refusal(user_id, credential, project_id=project_id, least="owner", write=True, in_archived=True)
        if not refused and self.model.projects[project_id].personal:
            refused = 409
        if not refused and not sure:
            return
        self.call(user_id, credential, "DELETE", f"/projects/{project_id}", refused or 204)
        if not refused:
            self.model.delete_project(project_id)

    # Members

    @rule(who=actors, credential=credentials, index=indexes, person=st.integers(0, len(USERS) - 1), role=roles)
    def add_member(self, who: int, credential: str, index: int, person: int, role: str) -> None:
        """POST /projects/{project_id}/members."""
        project_id = self.pick(self.project_ids, index)
        user_id, member_id = self.actor(who, project_id), self.model.users[person]
        refused = self.refusal(user_id, credential, project_id=project_id, least="owner", write=True)
        if not refused:
            project = self.model.projects[project_id]
            refused = 409 if project.personal or member_id in project.roles else None
            refused = 404 if member_id in self.model.disabled else refused
        body = {"username": USERS[person], "role": role}
        self.call(user_id, credential, "POST", f"/projects/{project_id}/members", refused or 201, body)
        if not refused:
            self.model.projects[project_id].roles[member_id] = role

    def _member_refusal(
        self, user_id: int, credential: str, project_id: int, member_id: int, *, least: str, leaves_owner: bool
    ) -> int | None:
        refused = self.refusal(user_id, credential, project_id=project_id, least="viewer", write=True, in_archived=True)
        if refused:
            return refused
        project = self.model.projects[project_id]
        if member_id not in project.roles:
            return 404
        if RANKS[project.roles[user_id]] < RANKS[least]:
            return 403
        if project.archived or project.personal:
            return 409
        if leaves_owner or project.roles[member_id] != "owner" or self.model.has_other_owner(project_id, member_id):
            return None
        return 409

    @rule(who=actors, credential=credentials, index=indexes, person=actors, role=roles)
    def change_role(self, who: int, credential: str, index: int, person: int, role: str) -> None:
        """PUT /projects/{project_id}/members/{user_id}."""
        project_id = self.pick(self.project_ids, index)
        user_id, member_id = self.actor(who, project_id), self.actor(person, project_id)
        refused = self._member_refusal(
            user_id, credential, project_id, member_id, least="owner", leaves_owner=role == "owner"
        )
        path = f"/projects/{project_id}/members/{member_id}"
        self.call(user_id, credential, "PUT", path, refused or 200, {"role": role})
        if not refused:
            self.model.projects[project_id].roles[member_id] = role

    @rule(who=actors, credential=credentials, index=indexes, person=actors)
    def remove_member(self, who: int, credential: str, index: int, person: int) -> None:
        """DELETE /projects/{project_id}/members/{user_id}, of others or oneself."""
        project_id = self.pick(self.project_ids, index)
        user_id, member_id = self.actor(who, project_id), self.actor(person, project_id)
        least = "viewer" if user_id == member_id else "owner"
        refused = self._member_refusal(user_id, credential, project_id, member_id, least=least, leaves_owner=False)
        self.call(user_id, credential, "DELETE", f"/projects/{project_id}/members/{member_id}", refused or 204)
        if not refused:
            self.model.end_membership(project_id, member_id)
