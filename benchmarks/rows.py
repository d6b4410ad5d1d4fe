"""The rows that every database begins with: the same tasks for all servers, by a number that decides all of a task."""

EVENLY = "1 + (n - 1) % :users"
WORDS = (
    "report", "invoice", "release", "review", "offer", "survey", "backup", "budget", "contract", "delivery",
    "kitchen", "garden", "painter", "library", "journey", "station", "harbour", "village", "teacher", "student",
    "picture", "recipe", "battery", "printer", "keyboard", "monitor", "network", "factory", "machine", "airport",
    "hospital", "museum", "theatre", "concert", "birthday", "holiday", "weather", "mountain", "bicycle", "umbrella",
)  # fmt: skip
_LAST_DISCUSSED = 100_000

# `h` is a hash of `n`, so that statuses, times and words are mixed for every user. A quarter of the tasks is past due.
_TASKS = f"""
SELECT n, owner_id, h, initcap(word) || ' ' || md5(CAST(n AS text)) AS title,
       'For the ' || other_word || ' ' || md5(CAST(-n AS text)) || ' ' || md5(CAST(n * 7 AS text)) AS description,
       (ARRAY['pending', 'in_progress', 'completed', 'cancelled'])[1 + h % 4] AS status, 1 + h / 4 % 5 AS priority,
       ARRAY['tag ' || lpad(CAST(h / 20 % 50 AS text), 2, '0'), 'work'] AS tags,
       CASE h / 1000 % 4 WHEN 0 THEN CAST('2025-01-01' AS timestamptz) + make_interval(mins => n % 500000)
            WHEN 1 THEN CAST('2040-01-01' AS timestamptz) + make_interval(mins => n) END AS due_at,
       CAST('2026-01-01' AS timestamptz) + make_interval(secs => n) AS created_at
FROM (
    SELECT n, :owner AS owner_id, h, words[1 + h / 32000 % {len(WORDS)}] AS word,
           words[1 + h / 1280000 % {len(WORDS)}] AS other_word
    FROM (SELECT n, hashint8(n) & 2147483647 AS h, CAST('{{{",".join(WORDS)}}}' AS text[]) AS words
          FROM generate_series(1, :tasks) AS n) AS hashed
) AS chosen ORDER BY n
"""

SERVICE_USERS = (
    """
    INSERT INTO users (id, username, email, password_hash)
    SELECT n, 'user_' || n, 'user_' || n || '@example.com', 'never used' FROM generate_series(1, :users) AS n
    """,
    "INSERT INTO sessions (id, user_id, user_agent) SELECT id, id, 'benchmark' FROM users",
    "SELECT setval(pg_get_serial_sequence('sessions', 'id'), :users)",
)
PEER_USERS = (
    """
    INSERT INTO users (id, username, email)
    SELECT n, 'user_' || n, 'user_' || n || '@example.com' FROM generate_series(1, :users) AS n
    """,
)

# Everybody's tasks lie in their Inbox, project `n` of user `n`.
INBOXES = (
    "SELECT setval(pg_get_serial_sequence('users', 'id'), :users)",
    "INSERT INTO projects (id, name, inbox_of) SELECT id, 'Inbox', id FROM users",
    "INSERT INTO project_members (project_id, user_id, role) SELECT id, id, 'owner' FROM users",
    "SELECT setval(pg_get_serial_sequence('projects', 'id'), (SELECT max(id) FROM projects))",
)

# Everybody also owns a project that the next user works in too, so each is in three.
TEAMS = (
    "INSERT INTO projects (id, name, description) SELECT :users + id, 'Project of ' || username, 'Shared' FROM users",
    "INSERT INTO project_members (project_id, user_id, role) SELECT :users + id, id, 'owner' FROM users",
    "INSERT INTO project_members (project_id, user_id, role) SELECT :users + id, 1 + id % :users, 'editor' FROM users",
    "SELECT setval(pg_get_serial_sequence('projects', 'id'), (SELECT max(id) FROM projects))",
)

TASKS = f"""
INSERT INTO tasks (project_id, title, description, status, priority, tags, due_at, assignee_id, created_by, created_at,
                   updated_at, completed_at)
SELECT :project, title, description, status, priority, tags, due_at, CASE WHEN h / 8000 % 4 = 0 THEN owner_id END,
       owner_id, created_at, created_at, CASE WHEN status = 'completed' THEN created_at END
FROM ({_TASKS}) AS generated ORDER BY n
"""
IN_INBOX = "owner_id"
IN_INBOX_OR_TEAM = "owner_id + CASE h / 4000 % 2 WHEN 1 THEN :users ELSE 0 END"

# Three comments on every third task, and 20 notifications of each user, every other one read.
DISCUSSIONS = (
    f"""
    INSERT INTO comments (project_id, task_id, author_id, body, created_at, updated_at)
    SELECT t.project_id, t.id, t.created_by, 'Comment ' || md5(CAST(t.id * number AS text)) || ', as long as most are.',
           t.created_at + make_interval(mins => number), t.created_at + make_interval(mins => number)
    FROM tasks t CROSS JOIN generate_series(1, 3) AS number
    WHERE t.id % 3 = 0 AND t.id <= {_LAST_DISCUSSED} ORDER BY t.id, number
    """,
    """
    INSERT INTO notifications (user_id, kind, task_id, actor_id, created_at, read_at)
    SELECT u.id, 'updated', t.id, 1 + u.id % :users, t.created_at, CASE WHEN t.id % 2 = 0 THEN t.created_at END
    FROM users u CROSS JOIN LATERAL (
        SELECT t.* FROM tasks t JOIN project_members m ON m.project_id = t.project_id
        WHERE m.user_id = u.id ORDER BY t.created_at DESC, t.id DESC LIMIT 20
    ) AS t ORDER BY t.id
    """,
)
EVENTS = (
    f"""
    INSERT INTO events (project_id, actor_id, created_at, entity, entity_id, version, action, changes)
    SELECT t.project_id, t.created_by, t.created_at, 'task', t.id, number,
           CASE number WHEN 1 THEN 'created' ELSE 'updated' END,
           '{{"title": {{"old": "A title that it had before", "new": "A title that it has now"}}}}'
    FROM tasks t CROSS JOIN generate_series(1, 3) AS number
    WHERE t.id % 3 = 0 AND t.id <= {_LAST_DISCUSSED} ORDER BY t.id, number
    """,
)

OWNED_TASKS = f"""
INSERT INTO tasks (owner_id, title, description, status, priority, tags, due_at, created_at, updated_at)
SELECT owner_id, title, description, status, priority, tags, due_at, created_at, created_at
FROM ({_TASKS}) AS generated ORDER BY n
"""
