"""The statements of the stream: how it begins, what it has missed, whose credentials have ended, and tickets."""

from collections.abc import Sequence
from typing import Final

from taskmanager.accounts.statements import good_session
from taskmanager.database.statements import Statement, Write
from taskmanager.events.followed import FollowedEntity
from taskmanager.following.statements import (
    FOUNDER,
    IS_OWN,
    IS_WANTED,
    LAST_POSITION,
    LOG,
    MEMBER,
    event_text,
    page_of_user,
)

TICKET_SECONDS: Final = 30
# More than these are not sent again: the client loads everything anew.
MOST_MISSED: Final = 10_000
_MOST_SHARED: Final = 16
_XID: Final = "CAST(CAST({} AS text) AS bigint)"
_TYPES: Final = {"era": "integer", "xid": "text", "project_ids": "bigint[]"}
_IS_AFTER: Final = "(e.era, e.xid, e.id) > (:era, CAST(:xid AS xid8), :event_id)"

# The projects that a user sees; which of them they gained after the position, by the first event of their membership;
# and how many events of all of them there are behind it, as far as that matters.
OPEN: Final = Statement(
    "open stream",
    f"""
WITH log AS MATERIALIZED {LOG}, mine AS MATERIALIZED (
    SELECT m.project_id FROM project_members m WHERE m.user_id = :user_id AND {IS_WANTED.format("m.project_id")}
)
SELECT log.epoch, log.is_outdated,
       (log.floor_era, log.floor_xid, log.floor_id) > (:era, CAST(:xid AS xid8), :event_id) AS is_below_floor,
       (:era, CAST(:xid AS xid8)) >= (log.era, log.ahead) AS is_ahead,
       log.era, {_XID.format("log.horizon")} AS horizon,
       (SELECT array_agg(project_id) FROM mine) AS visible,
       (
           SELECT array_agg(first.project_id) FROM (
               SELECT DISTINCT ON (e.project_id) e.project_id, e.action FROM events e
               WHERE {IS_OWN} AND {_IS_AFTER} ORDER BY e.project_id, e.era, e.xid, e.id
           ) AS first WHERE first.action = 'added'
       ) AS gained,
       (
           SELECT count(*) FROM (
               SELECT FROM mine CROSS JOIN LATERAL (
                   SELECT FROM events e
                   WHERE e.project_id = mine.project_id AND {_IS_AFTER} AND (e.era, e.xid) < (log.era, log.horizon)
                   ORDER BY e.era, e.xid, e.id LIMIT {MOST_MISSED + 1}
               ) AS e LIMIT {MOST_MISSED + 1}
           ) AS missed
       ) AS missed
FROM log
""",
    _TYPES,
    shared=True,
    most_shared=_MOST_SHARED,
)


def page_of_events(entities: Sequence[FollowedEntity]) -> Statement:
    """Return the statement of the next events for a user behind a position, with their texts; one row without any.

    Each row says whether there are more, and in `last_...` where the log ends that has been read to its end.
    """
    return Statement(
        "read missed events",
        f"""
WITH log AS MATERIALIZED {LOG}, {page_of_user(", e.actor_id, e.created_at, e.changes")}, read AS (
    SELECT count(*) > (SELECT count(*) FROM page) OR COALESCE(bool_or(is_cut), false) AS has_more FROM seen
)
SELECT log.epoch, log.is_outdated, read.has_more, last.era AS last_era, last.xid AS last_xid, last.id AS last_id,
       (log.floor_era, log.floor_xid, log.floor_id) > (:era, CAST(:xid AS xid8), :event_id) AS is_below_floor,
       e.era, {_XID.format("e.xid")} AS xid, e.id, e.project_id, e.entity, e.action,
       {MEMBER} AS member_id, {FOUNDER} AS founder_id, {event_text(entities)} AS text
FROM log CROSS JOIN read LEFT JOIN LATERAL ({LAST_POSITION}) AS last ON true LEFT JOIN page e ON true
ORDER BY e.place
""",
        _TYPES,
    )


_KEY_HOLDS: Final = "NOT u.disabled AND (k.expires_at IS NULL OR k.expires_at > now())"
# Which of these logins and API keys, by their places from 1, hold no more.
FIND_ENDED: Final = Statement(
    "find ended credentials",
    f"""
SELECT c.n FROM unnest(:session_ids, :user_ids, :key_ids) WITH ORDINALITY AS c (session_id, user_id, key_id, n)
WHERE NOT EXISTS (SELECT {good_session("c.session_id", "c.user_id")})
  AND NOT EXISTS (SELECT FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = c.key_id AND {_KEY_HOLDS})
""",
)
CREATE_TICKET: Final = Write(
    "create ticket",
    f"""
created AS (
    INSERT INTO stream_tickets (secret_hash, user_id, session_id, key_id, expires_at)
    SELECT :secret_hash, :user_id, :session_id, :key_id, now() + make_interval(secs => {TICKET_SECONDS})
    WHERE :user_id IS NOT NULL
)""",
    "SELECT true AS done",
    {"secret_hash": "bytea"},
)
# It is gone even if it is good no longer.
SPEND_TICKET: Final = Statement(
    "spend ticket",
    f"""
WITH spent AS (DELETE FROM stream_tickets WHERE secret_hash = :secret_hash RETURNING *)
SELECT t.user_id, t.session_id, t.key_id, CAST(NULL AS text[]) AS scopes FROM spent t
WHERE t.expires_at > now() AND EXISTS (SELECT {good_session("t.session_id", "t.user_id")})
UNION ALL
SELECT t.user_id, t.session_id, t.key_id, k.scopes
FROM spent t JOIN api_keys k ON k.id = t.key_id JOIN users u ON u.id = k.user_id
WHERE t.expires_at > now() AND {_KEY_HOLDS}
""",
    {"secret_hash": "bytea"},
)
PURGE_TICKETS: Final = Statement(
    "purge tickets",
    """
DELETE FROM stream_tickets WHERE secret_hash = ANY(ARRAY(
    SELECT secret_hash FROM stream_tickets WHERE expires_at < now()
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)) RETURNING 1
""",
)
