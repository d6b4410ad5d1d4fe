"""A small world of people, projects and credentials in which every route can be tried by everybody."""

from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.following.positions import START
from tests.conftest import PASSWORD, Person, client_for
from tests.support.credentials import ALL_BUT_ADMIN, API, Key, Tokens, log_in, new_key
from tests.support.rows import Snapshot, execute, wipe

# In the text of everything that only the members of the project may see.
MARKER = "classified"
# A second owner, whom others change or remove, and thanks to whom the first may leave.
ROLES = {"owner": "owner", "partner": "owner", "editor": "editor", "viewer": "viewer"}
PEOPLE = ("stranger", *ROLES, "disabled", "removed", "administrator")
# Thanks to whom the administrator may leave.
_DEPUTY = """
    INSERT INTO users (username, email, password_hash, is_admin) VALUES ('deputy', 'deputy@example.com', '-', true)
"""
SCOPES = (*ALL_BUT_ADMIN, "admin")


@dataclass(frozen=True)
class Actor:
    """Somebody who calls, and the credential that they show."""

    name: str
    person: str | None = None
    scopes: frozenset[str] | None = None
    header: str = "Authorization"
    live: bool = True

    @property
    def role(self) -> str | None:
        """The person's role in the project."""
        return ROLES.get(self.person or "")

    @property
    def is_member(self) -> bool:
        """Whether the credential is that of a member."""
        return self.live and self.role is not None


def _logins() -> list[Actor]:
    people = ("stranger", "viewer", "editor", "owner", "disabled", "removed", "administrator")
    return [Actor("anonymous"), *(Actor(f"{name}'s login", name, live=name != "disabled") for name in people)]


def _keys() -> list[Actor]:
    actors = []
    for header in ("X-API-Key", "Authorization"):
        for scope in SCOPES:
            person = "administrator" if scope == "admin" else "owner"
            actors.append(Actor(f"{scope} key", person, frozenset({scope}), header))
        actors += [
            Actor(f"{state} key", "owner", frozenset(ALL_BUT_ADMIN), header, live=False)
            for state in ("expired", "deleted")
        ]
    people = ("stranger", "viewer", "editor", "disabled", "removed")
    return actors + [
        Actor(f"{name}'s key", name, frozenset(ALL_BUT_ADMIN), "X-API-Key", live=name != "disabled") for name in people
    ]


ACTORS = (*_logins(), *_keys())


@dataclass
class World:
    """Ids and credentials of everything that was made."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    ids: dict[str, Any] = field(default_factory=dict)
    logins: dict[str, Tokens] = field(default_factory=dict)
    spare_logins: dict[str, Tokens] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    own_ids: dict[str, dict[str, int]] = field(default_factory=dict)

    def headers_of(self, actor: Actor) -> dict[str, str]:
        """Return an actor's credential."""
        if actor.person is None:
            return {}
        if actor.scopes is None:
            return self.logins[actor.person].headers
        key = self.keys[actor.name]
        return key.in_header if actor.header == "X-API-Key" else key.as_bearer

    def path(self, template: str, actor: Actor) -> str:
        """Fill in a route's path; sessions and keys are the actor's own."""
        return template.format_map({**self.ids, **self.own_ids[actor.person or "owner"], "name": "favicon.svg"})


async def build_world(app: FastAPI) -> World:
    """Make everything over the API, remember it, and leave the database empty."""
    database: Database = app.state.database
    world = World()
    async with client_for(app) as client:
        people = {name: await _join(client, app, world, name) for name in PEOPLE}
        await execute(database, "UPDATE users SET is_admin = true WHERE username = 'administrator'")
        await execute(database, _DEPUTY)
        await _make_content(world, people)
        await _notify_everybody(world, people)
        await _make_webhook(app, world, people["owner"])
        await _make_keys(world, people, database)
        disabling = await client.post(
            f"{API}/admin/users/{people['disabled'].id}/disable", headers=world.keys["admin key"].in_header
        )
        assert disabling.status_code == 200, disabling.text
    for person in people.values():
        await person.client.aclose()
    world.snapshot = await Snapshot.take(database)
    await wipe(database)
    return world


async def _join(client: httpx.AsyncClient, app: FastAPI, world: World, name: str) -> Person:
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    answer = await client.post(f"{API}/users", json=account)
    assert answer.status_code == 201, answer.text
    world.logins[name] = await log_in(client, name)
    world.spare_logins[name] = await log_in(client, name)
    person = Person(
        answer.json()["id"], name, 0, world.logins[name].access, client_for(app, headers=world.logins[name].headers)
    )
    sessions = (await person.get("/users/me/sessions")).json()["sessions"]
    spare = next(session["id"] for session in sessions if not session["current"])
    world.own_ids[name] = {"session_id": spare, "key_id": (await new_key(person, "tasks:read")).id}
    world.ids[f"{name}_id"] = person.id
    return person


async def _make_content(world: World, people: dict[str, Person]) -> None:
    owner, ids = people["owner"], world.ids
    ids["project_id"] = await owner.new_project(f"A {MARKER} project")
    members = f"/projects/{ids['project_id']}/members"
    for name in ("partner", "editor", "viewer", "removed"):
        await owner.post(members, {"username": name, "role": ROLES.get(name, "editor")})
    task = await owner.new_task(ids["project_id"], title=f"A {MARKER} task", description=f"A {MARKER} description")
    ids["task_id"] = task["id"]
    ids["section_id"] = await _new_section(owner, ids["project_id"], f"A {MARKER} section")
    await _new_section(owner, ids["project_id"], f"Another {MARKER} section")
    # Whoever is removed leaves traces that give them nothing back: a task of theirs, one for them, and a comment.
    await owner.new_task(ids["project_id"], title=f"A third {MARKER} task", assignee_id=people["removed"].id)
    await people["removed"].new_task(ids["project_id"], title=f"Another {MARKER} task", assignee_id=owner.id)
    for author, name in (("removed", "removed_comment_id"), ("owner", "owner_comment_id"), ("editor", "comment_id")):
        answer = await people[author].post(f"/tasks/{task['id']}/comments", {"body": f"A {MARKER} comment"})
        ids[name] = answer.json()["id"]
    await owner.delete(f"{members}/{people['removed'].id}")
    ids["user_id"] = people["partner"].id
    for prefix, person in (("side", owner), ("foreign", people["stranger"])):
        project_id = ids[f"{prefix}_project_id"] = await person.new_project("Elsewhere")
        task_id = ids[f"{prefix}_task_id"] = (await person.new_task(project_id))["id"]
        answer = await person.post(f"/tasks/{task_id}/comments", {"body": "Elsewhere"})
        ids[f"{prefix}_comment_id"] = answer.json()["id"]
        ids[f"{prefix}_section_id"] = await _new_section(person, project_id, "Elsewhere")
    archived = ids["archived_project_id"] = await owner.new_project("Long ago")
    for name in ("partner", "editor", "viewer"):
        await owner.post(f"/projects/{archived}/members", {"username": name, "role": ROLES[name]})
    ids["archived_task_id"] = (await owner.new_task(archived))["id"]
    answer = await owner.post(f"/tasks/{ids['archived_task_id']}/comments", {"body": "Long ago"})
    ids["archived_comment_id"] = answer.json()["id"]
    ids["archived_section_id"] = await _new_section(owner, archived, "Long ago")
    await owner.patch(f"/projects/{archived}", {"archived": True})


async def _new_section(person: Person, project_id: int, name: str) -> int:
    return int((await person.post(f"/projects/{project_id}/sections", {"name": name})).json()["id"])


async def _notify_everybody(world: World, people: dict[str, Person]) -> None:
    # In a project that all of them share, so that everybody has something of their own to mark as read.
    partner = people["partner"]
    common = await partner.new_project("In common")
    for name, person in people.items():
        if person is not partner:
            await partner.post(f"/projects/{common}/members", {"username": name, "role": "editor"})
            await partner.new_task(common, assignee_id=person.id)
            newest = (await person.get("/notifications")).json()["notifications"][0]
            world.own_ids[name]["notification_id"] = newest["id"]


async def _make_webhook(app: FastAPI, world: World, owner: Person) -> None:
    webhook_id, delivery_id = await make_webhook(owner, world.ids["project_id"], app.state.database)
    cursor = (await app.state.epochs.look()).write(START)
    world.ids |= {"webhook_id": webhook_id, "delivery_id": delivery_id, "cursor": cursor}


async def make_webhook(owner: Person, project_id: int, database: Database) -> tuple[int, int]:
    """Make a webhook with a message, which has nothing else to be sent, and return the ids of both."""
    body = {"name": f"A {MARKER} webhook", "url": "https://8.8.8.8/hook"}
    webhook_id = (await owner.post(f"/projects/{project_id}/webhooks", body)).json()["id"]
    message = await owner.post(f"/projects/{project_id}/webhooks/{webhook_id}/test", expect=202)
    # A transaction elsewhere on the server may hold back the end of the log, and `lag_seconds` would go up.
    await execute(
        database,
        "UPDATE webhooks SET (era, xid, event_id) ="
        " (SELECT era, xid, id FROM events ORDER BY era DESC, xid DESC, id DESC LIMIT 1)",
    )
    return webhook_id, message.json()["id"]


async def _make_keys(world: World, people: dict[str, Person], database: Database) -> None:
    for actor in ACTORS:
        if actor.person is None or actor.scopes is None or actor.name in world.keys:
            continue
        key = world.keys[actor.name] = await new_key(people[actor.person], *sorted(actor.scopes))
        if actor.name == "deleted key":
            await people[actor.person].delete(f"/users/me/api-keys/{key.id}")
        elif actor.name == "expired key":
            statement = "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"
            await execute(database, statement, id=key.id)
