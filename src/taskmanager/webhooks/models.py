"""The tables of webhooks: what is sent where, up to which position of the log, and each message that was tried."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.database.database import Base
from taskmanager.events.models import TransactionId


class Webhook(Base):
    """A receiver of a project's events.

    Everything up to the position (era, xid, event_id) has been handled: delivered, parked, or is of no interest. A
    process that sends has raised `token` and holds the webhook until `lease_until`. It may be sent from the server and
    database that `system_id` and `database_id` name, so that a copy sends nothing. There is no foreign key to the
    project, since the webhook of a deleted one is sent its end.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("length(url) <= 2048", name="url"),
        CheckConstraint("disabled_reason IN ('owner', 'gone', 'failures', 'retention')", name="disabled_reason"),
        CheckConstraint("enabled = (disabled_reason IS NULL)", name="enabled"),
    )

    project_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(server_default=text("1"))
    rotated_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    key_fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    system_id: Mapped[int | None] = mapped_column(BigInteger)
    database_id: Mapped[int | None] = mapped_column(BigInteger)
    era: Mapped[int]
    xid: Mapped[int] = mapped_column(TransactionId)
    event_id: Mapped[int] = mapped_column(BigInteger)
    moved_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    replay_era: Mapped[int | None]
    replay_xid: Mapped[int | None] = mapped_column(TransactionId)
    replay_event_id: Mapped[int | None] = mapped_column(BigInteger)
    token: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    lease_until: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    parked_in_row: Mapped[int] = mapped_column(server_default=text("0"))
    failing_since: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    last_success_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())


class WebhookDelivery(Base):
    """A message, written before it is first sent, with the body that each attempt sends.

    It is open until `finished_at`. A test has no event; `is_asked` is a message that an owner wants to be sent now.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["project_id", "webhook_id"],
            ["webhooks.project_id", "webhooks.id"],
            name="webhook_deliveries_webhook_id_fkey",
            ondelete="CASCADE",
        ),
        CheckConstraint("state IN ('pending', 'parked', 'delivered', 'failed')", name="state"),
        CheckConstraint("(finished_at IS NULL) = (state IN ('pending', 'parked'))", name="finished_at"),
        Index("webhook_deliveries_event_key", "project_id", "webhook_id", "era", "event_id", unique=True),
        Index("webhook_deliveries_list_idx", "project_id", "webhook_id", "created_at", "id"),
        Index(
            "webhook_deliveries_open_idx",
            "project_id",
            "webhook_id",
            "era",
            "xid",
            "event_id",
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index("webhook_deliveries_finished_at_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index(
            "webhook_deliveries_body_idx",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND body IS NOT NULL"),
        ),
    )

    project_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    webhook_id: Mapped[int] = mapped_column(BigInteger)
    message_id: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    era: Mapped[int | None]
    xid: Mapped[int | None] = mapped_column(TransactionId)
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    is_asked: Mapped[bool] = mapped_column(server_default=text("false"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    tried_since: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    next_attempt_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    last_attempt_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
