"""Rows and values for requests to every route: cursors, comments, and for each user some of all that is used up."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from benchmarks.callers import Values, read_callers
from benchmarks.database import execute, fetch
from benchmarks.servers import RunningServer, token_signer
from benchmarks.works import API
from taskmanager.accounts.api_key.written_keys import hash_secret, new_secret, write_key
from taskmanager.accounts.tokens import RefreshClaims

_EACH = 60  # of everything that a request uses up, for each user
_IDLE_USERS = 100

# User `n` owns project `users + n`, where user `n + 1` is an editor; further members come after these.
_MEMBER = "1 + (u.id + k) % :users"
_FIRST_TASK = """
CROSS JOIN LATERAL (SELECT min(t.id) AS id FROM tasks t WHERE t.project_id = u.id) AS t
CROSS JOIN generate_series(1, :each)
"""
_ROWS = (
    """
    INSERT INTO sessions (user_id, user_agent)
    SELECT u.id, use FROM users u CROSS JOIN generate_series(1, :each)
    CROSS JOIN unnest(ARRAY['once_session', 'once_refresh', 'once_revoke']) AS use
    """,
    """
    INSERT INTO api_keys (user_id, name, secret_hash, scopes)
    SELECT u.id, 'spare', sha256('spare'), '{tasks:read}' FROM users u CROSS JOIN generate_series(1, :each)
    """,
    f"""
    INSERT INTO project_members (project_id, user_id, role)
    SELECT :users + u.id, {_MEMBER}, 'viewer' FROM users u CROSS JOIN generate_series(1, :each) AS k
    """,
    """
    WITH made AS (
        INSERT INTO projects (name, description)
        SELECT 'Spare', u.id FROM users u CROSS JOIN generate_series(1, :each) RETURNING id, description
    )
    INSERT INTO project_members (project_id, user_id, role) SELECT id, CAST(description AS bigint), 'owner' FROM made
    """,
    """
    INSERT INTO tasks (project_id, title, created_by, created_at)
    SELECT u.id, use, u.id, '2020-01-01' FROM users u CROSS JOIN generate_series(1, :each)
    CROSS JOIN unnest(ARRAY['once_task', 'once_project_task', 'once_bulk', 'once_bulk']) AS use
    """,
    f"""
    INSERT INTO comments (project_id, task_id, author_id, body)
    SELECT u.id, t.id, u.id, 'spare' FROM users u {_FIRST_TASK}
    """,
    f"""
    INSERT INTO notifications (user_id, kind, task_id, actor_id)
    SELECT u.id, 'assigned', t.id, u.id FROM users u {_FIRST_TASK}
    """,
    "INSERT INTO sections (project_id, name) SELECT u.id, 'spare' FROM users u CROSS JOIN generate_series(1, :each)",
    """
    INSERT INTO users (username, email, password_hash)
    SELECT 'idle_' || n, 'idle_' || n || '@example.com', 'never used' FROM generate_series(1, :idle) AS n
    """,
)
# Named by both kinds of requests.
_KEPT_ROWS = (
    """
    INSERT INTO webhooks (project_id, name, url, host, key_fingerprint, system_id, database_id, era, xid, event_id)
    SELECT :users + u.id, 'hook', 'https://example.com/', 'example.com', '', 0, 0, 0, '0', 0
    FROM users u WHERE u.id <= :users
    """,
    """
    INSERT INTO webhook_deliveries (project_id, webhook_id, message_id, type, body, state, finished_at)
    SELECT w.project_id, w.id, 'msg_' || n, 'task.created', '{}', 'delivered', now()
    FROM webhooks w CROSS JOIN generate_series(1, 40) AS n
    """,
    "INSERT INTO sections (project_id, name) SELECT u.id, 'kept' FROM users u CROSS JOIN generate_series(1, 2)",
)
_VALUES: Mapping[str, str] = {
    "webhook": "SELECT project_id - :users, project_id || '/webhooks/' || id FROM webhooks",
    "delivery": """
        SELECT project_id - :users, project_id || '/webhooks/' || webhook_id || '/deliveries/' || id
        FROM webhook_deliveries
    """,
    "project": "SELECT user_id, CAST(project_id AS text) FROM project_members WHERE role = 'owner'",
    "team_project": "SELECT id, CAST(id + :users AS text) FROM users WHERE id <= :users",
    "project_task": "SELECT user_id, project_id || '/tasks/' || task_id FROM picked WHERE NOT known",
    "known_project_task": "SELECT user_id, project_id || '/tasks/' || task_id FROM picked WHERE known",
    "section": "SELECT project_id, project_id || '/sections/' || id FROM sections WHERE name <> 'spare'",
    "comment": "SELECT author_id, task_id || '/comments/' || id FROM comments WHERE body <> 'spare'",
}
_MEMBERS = "FROM users u CROSS JOIN generate_series({}, {}) AS k WHERE u.id <= :users"
_SPARE_VALUES: Mapping[str, str] = {
    # Further members see the tasks of many projects, but may not change them.
    "task": "SELECT user_id, CAST(task_id AS text) FROM picked WHERE NOT known",
    "once_session": "SELECT user_id, CAST(id AS text) FROM sessions WHERE user_agent = 'once_session'",
    "once_key": "SELECT user_id, CAST(id AS text) FROM api_keys WHERE name = 'spare'",
    "once_member": f"SELECT u.id, CAST({_MEMBER} AS text) {_MEMBERS.format(1, ':each')}",
    "member": f"SELECT u.id, CAST({_MEMBER} AS text) {_MEMBERS.format(1, ':each')}",
    "once_new_member": f"SELECT u.id, 'user_' || CAST({_MEMBER} AS text) {_MEMBERS.format(':each + 1', '3 * :each')}",
    "once_project": """
        SELECT m.user_id, CAST(p.id AS text) FROM projects p JOIN project_members m ON m.project_id = p.id
        WHERE p.name = 'Spare'
    """,
    "once_task": "SELECT created_by, CAST(id AS text) FROM tasks WHERE title = 'once_task'",
    "once_project_task": """
        SELECT created_by, project_id || '/tasks/' || id FROM tasks WHERE title = 'once_project_task'
    """,
    "once_bulk": """
        SELECT created_by, 'id=' || min(id) || '&id=' || max(id) FROM (
            SELECT created_by, id, (row_number() OVER (PARTITION BY created_by ORDER BY id) - 1) / 2 AS pair
            FROM tasks WHERE title = 'once_bulk'
        ) AS numbered GROUP BY created_by, pair
    """,
    "inbox_tasks": """
        SELECT created_by, string_agg(CAST(id AS text), ', ') FROM (
            SELECT created_by, id, row_number() OVER (PARTITION BY created_by ORDER BY id) AS place
            FROM tasks WHERE project_id = created_by AND title NOT LIKE 'once%'
        ) AS numbered WHERE place <= 20 GROUP BY created_by, place % 4
    """,
    "once_comment": "SELECT author_id, task_id || '/comments/' || id FROM comments WHERE body = 'spare'",
    "once_section": "SELECT project_id, project_id || '/sections/' || id FROM sections WHERE name = 'spare'",
    "once_notification": "SELECT user_id, CAST(id AS text) FROM notifications WHERE kind = 'assigned'",
}
# Every fifth task of its creator is one that no request changes, as in benchmarks/callers.py.
_PICKED = """
WITH picked AS (
    SELECT t.created_by AS user_id, t.project_id, t.id AS task_id,
           row_number() OVER (PARTITION BY t.created_by ORDER BY t.id) % 5 = 0 AS known
    FROM tasks t WHERE t.title NOT LIKE 'once%'
)
"""
_LIMIT = 20


def add_kept_rows(url: str, users: int) -> None:
    """Add sections, and webhooks, which nothing is sent to."""
    execute(url, *(_bound(statement, users) for statement in _KEPT_ROWS))


def add_spares(url: str, users: int) -> None:
    """Add what requests use up."""
    execute(url, *(_bound(statement, users) for statement in _ROWS), "VACUUM ANALYZE")


def _bound(statement: str, users: int) -> str:
    for name, number in (("users", users), ("each", _EACH), ("idle", _IDLE_USERS)):
        statement = statement.replace(f":{name}", str(number))
    return statement


def read_all_callers(server: RunningServer, users: int, *, spare: bool) -> dict[int, Values]:
    """Return the values of the blanks in the requests of all routes, by user.

    Without `spare` there are those of reads only, for which the server has to run.
    """
    url = server.database_url
    callers = {user: dict(values) for user, values in read_callers(server.kind, url).items() if user <= users}
    for name, statement in {**_VALUES, **(_SPARE_VALUES if spare else {})}.items():
        for user, values in _by_user(fetch(url, f"{_PICKED} {_bound(statement, users)}")).items():
            if user in callers:
                callers[user][name] = values if name.startswith("once_") else values[:_LIMIT]
    if spare:
        _add_tokens(url, callers)
    else:
        _add_keys(url, callers)
        _add_cursors(server, callers)
    return dict(callers)


def _by_user(rows: Sequence[Any]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for user, value in rows:
        found.setdefault(user, []).append(value)
    return found


def _add_tokens(url: str, callers: dict[int, dict[str, Sequence[str]]]) -> None:
    signer = token_signer()
    idle = [str(row["id"]) for row in fetch(url, "SELECT id FROM users WHERE username LIKE 'idle%'")]
    for values in callers.values():
        values |= {"idle_user": idle, "role": ["editor", "viewer"]}
    for name in ("once_refresh", "once_revoke"):
        for user, session in fetch(url, "SELECT user_id, id FROM sessions WHERE user_agent = $1", name):
            token = signer.refresh_token(RefreshClaims(session, 0))
            callers[user][name] = [*callers[user].get(name, ()), token]


def _add_keys(url: str, callers: dict[int, dict[str, Sequence[str]]]) -> None:
    secrets = {user: new_secret() for user in callers}
    stored = fetch(
        url,
        "INSERT INTO api_keys (user_id, name, secret_hash, scopes) SELECT u, 'reader', h, '{tasks:read}'"
        " FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bytea[])) AS new (u, h) RETURNING id, user_id",
        list(secrets),
        [hash_secret(secret) for secret in secrets.values()],
    )
    for key_id, user in stored:
        callers[user]["api_key"] = [write_key(key_id, secrets[user])]


def _add_cursors(server: RunningServer, callers: dict[int, dict[str, Sequence[str]]]) -> None:
    with httpx.Client(base_url=server.url, timeout=10) as client:
        for values in callers.values():
            headers = {"Authorization": f"Bearer {values['token'][0]}"}
            for name, path in (("cursor", "tasks"), ("project_cursor", f"{values['project'][0]}/tasks")):
                whole = f"{API}/{path if name == 'cursor' else f'projects/{path}'}?limit=20&count=none"
                cursor = client.get(whole, headers=headers).raise_for_status().json()["next_cursor"]
                values[name] = [cursor if name == "cursor" else f"{path}?limit=20&count=none&cursor={cursor}"]
