"""Reads the messages of webhooks, and has some sent again."""

from typing import Final

from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import WriteRunner, Written
from taskmanager.errors import MessageGoneError, NotFoundError, RateLimitedError, WebhookInactiveError
from taskmanager.http.pagination import Page
from taskmanager.projects.access import require_owner
from taskmanager.webhooks.conditions import HERE, STATE
from taskmanager.webhooks.messages import TEST_TYPE
from taskmanager.webhooks.repository import owned_page, require_manager
from taskmanager.webhooks.schemas import DeliveryDetail, DeliveryRead
from taskmanager.webhooks.statements import MAY_MANAGE, OWNER_ACCESS

_MOST_TESTS: Final = 10
_TEST_WAIT_SECONDS: Final = 10
_SENDS: Final = "('active', 'failing')"
_DELIVERY = json_object(DeliveryRead, "d")
_OF_OWNER = """
FROM project_members a
LEFT JOIN webhooks w ON w.project_id = a.project_id AND w.id = :webhook_id AND a.role = 'owner'
"""
_OWN = "WHERE a.project_id = :project_id AND a.user_id = :user_id"
_FIND = Statement(
    "find delivery",
    f"""
SELECT a.role, w.id AS webhook_id, d.id,
       convert_to({json_object(DeliveryDetail, "d", body="convert_from(d.body, 'UTF8')")}, 'UTF8') AS body
{_OF_OWNER}
LEFT JOIN webhook_deliveries d ON d.project_id = w.project_id AND d.webhook_id = w.id AND d.id = :delivery_id
{_OWN}
""",
)
_NEXT = f"""
SELECT d.*, d.created_at AS key_time, d.id AS key_id
FROM webhook_deliveries d
WHERE d.project_id = a.project_id AND d.webhook_id = w.id AND {after_key("d.created_at", "d.id", descending=True)}
ORDER BY d.created_at DESC, d.id DESC LIMIT :limit
"""
_PAGE = json_page(_NEXT, json_object(DeliveryRead, "row"), descending=True)
_LIST = Statement(
    "list deliveries",
    f"SELECT a.role, w.id AS webhook_id, page.* {_OF_OWNER} CROSS JOIN LATERAL ({_PAGE}) AS page {_OWN}",
)
_TARGET = f"""
{HERE}, {OWNER_ACCESS.format(lock="FOR SHARE OF p")}, w AS MATERIALIZED (
    SELECT w.project_id, w.id, {STATE} AS state
    FROM webhooks w JOIN access a ON a.project_id = w.project_id CROSS JOIN here
    WHERE w.id = :webhook_id AND {MAY_MANAGE} FOR NO KEY UPDATE OF w
)"""
_ANSWER = f"""
       w.state, w.id AS webhook_id, d.id IS NOT NULL AS done, d.id, a.project_id, CAST(NULL AS integer) AS version,
       CASE WHEN d.id IS NOT NULL THEN convert_to({_DELIVERY}, 'UTF8') END AS body
FROM access a LEFT JOIN w ON true
"""
_TEST = Write(
    "test webhook",
    f"""
{_TARGET}, d AS (
    INSERT INTO webhook_deliveries
        (project_id, webhook_id, message_id, type, body, state, is_asked, next_attempt_at)
    SELECT w.project_id, w.id, :message_id, '{TEST_TYPE}', :body, 'parked', true, now()
    FROM w WHERE w.state IN {_SENDS} AND (
        SELECT count(*) FROM webhook_deliveries o
        WHERE o.project_id = w.project_id AND o.webhook_id = w.id AND o.finished_at IS NULL AND o.event_id IS NULL
    ) < {_MOST_TESTS}
    RETURNING *
)""",
    f"SELECT a.role, a.archived, {_ANSWER} LEFT JOIN d ON true",
    {"message_id": "text", "body": "bytea"},
)
# One that is next in order is just tried now.
_REDELIVER = Write(
    "redeliver message",
    f"""
{_TARGET}, found AS MATERIALIZED (
    SELECT d.id, d.body IS NULL AS is_gone FROM webhook_deliveries d JOIN w ON d.webhook_id = w.id
    WHERE d.project_id = w.project_id AND d.id = :delivery_id
), d AS (
    UPDATE webhook_deliveries d
    SET state = CASE WHEN d.state = 'pending' THEN d.state ELSE 'parked' END, is_asked = true, finished_at = NULL,
        attempts = CASE WHEN d.state = 'pending' THEN d.attempts ELSE 0 END, next_attempt_at = now(),
        tried_since = CASE WHEN d.state = 'pending' THEN d.tried_since ELSE now() END
    FROM w
    WHERE w.state IN {_SENDS} AND d.project_id = w.project_id AND d.webhook_id = w.id AND d.id = :delivery_id
      AND d.body IS NOT NULL
    RETURNING d.*
)""",
    f"SELECT a.role, a.archived, found.id AS found_id, found.is_gone, {_ANSWER} "
    "LEFT JOIN found ON true LEFT JOIN d ON true",
)


class DeliveryReader:
    """Reads the messages of webhooks of projects that the caller owns."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, project_id: int, webhook_id: int, delivery_id: int, *, user_id: int) -> bytes:
        """Return one message as JSON.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook or message.
            RoleTooLowError: The caller is not the project's owner.
        """
        row = await self._reads.one(
            _FIND, project_id=project_id, webhook_id=webhook_id, delivery_id=delivery_id, user_id=user_id
        )
        if row is None:
            raise NotFoundError("project")
        require_owner(row["role"])
        if row["webhook_id"] is None:
            raise NotFoundError("webhook")
        if row["id"] is None:
            raise NotFoundError("delivery")
        body: bytes = row["body"]
        return body

    async def list_page(self, project_id: int, webhook_id: int, page: Page, *, user_id: int) -> FoundPage:
        """Return a page of a webhook's messages, newest first.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook.
            RoleTooLowError: The caller is not the project's owner.
        """
        row = await self._reads.one(
            _LIST, **page.parameters, project_id=project_id, webhook_id=webhook_id, user_id=user_id
        )
        found = owned_page(row)
        if row is None or row["webhook_id"] is None:
            raise NotFoundError("webhook")
        return found


class DeliveryWriter:
    """Has messages sent."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def test(self, project_id: int, webhook_id: int, message_id: str, body: bytes, *, user_id: int) -> Written:
        """Have a test sent, once.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook.
            RoleTooLowError: The caller is not the project's owner.
            ProjectArchivedError: It is archived.
            WebhookInactiveError: The webhook is disabled or paused.
            RateLimitedError: Several tests wait to be sent.
        """
        row = await self._writes.one(
            _TEST, project_id=project_id, webhook_id=webhook_id, user_id=user_id, message_id=message_id, body=body
        )
        row = require_manager(row)
        if row["webhook_id"] is None:
            raise NotFoundError("webhook")
        if not row["done"]:
            if row["state"] in {"active", "failing"}:
                raise RateLimitedError("tests", _TEST_WAIT_SECONDS)
            raise WebhookInactiveError(row["state"])
        return Written(row["id"], None, row["body"])

    async def redeliver(self, project_id: int, webhook_id: int, delivery_id: int, *, user_id: int) -> Written:
        """Have a message sent again, with the id and the body that it had.

        Raises:
            NotFoundError: There is no such project that the caller may see, or no such webhook or message.
            RoleTooLowError: The caller is not the project's owner.
            MessageGoneError: Its body is not kept any more.
            ProjectArchivedError: The project is archived.
            WebhookInactiveError: The webhook is disabled or paused.
        """
        row = await self._writes.one(
            _REDELIVER, project_id=project_id, webhook_id=webhook_id, user_id=user_id, delivery_id=delivery_id
        )
        row = require_manager(row)
        if row["webhook_id"] is None:
            raise NotFoundError("webhook")
        if row["found_id"] is None:
            raise NotFoundError("delivery")
        if row["is_gone"]:
            raise MessageGoneError
        if not row["done"]:
            raise WebhookInactiveError(row["state"])
        return Written(row["id"], None, row["body"])
