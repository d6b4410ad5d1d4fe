"""The table of tickets."""

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.database.database import Base


class StreamTicket(Base):
    """What opens one stream in place of a credential, which a browser cannot send; only its SHA-256 is kept.

    It stands for the login or the API key that asked for it. There are no foreign keys: it is good for 30 seconds, and
    the credential is looked up when it is used.
    """

    __tablename__ = "stream_tickets"
    __table_args__ = (Index("stream_tickets_expires_at_idx", "expires_at"),)

    secret_hash: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger)
    session_id: Mapped[int | None] = mapped_column(BigInteger)
    key_id: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True))
