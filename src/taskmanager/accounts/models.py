"""Tables of accounts and their logins."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.accounts.folding import folded_name
from taskmanager.database.composed_text import TextTable
from taskmanager.database.database import Base

USER_TEXTS = TextTable("users", ("id",), {"email": 255}, unique="email")
API_KEY_TEXTS = TextTable("api_keys", ("id",), {"name": 100})


class User(Base):
    """A person; once deleted, a row without name, address and password."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("username ~ '^[A-Za-z0-9_]{3,50}$'", name="username"),
        CheckConstraint("length(email) <= 255 AND email = lower(email)", name="email"),
        CheckConstraint(
            "(deleted_at IS NULL) = (username IS NOT NULL) AND (deleted_at IS NULL) = (email IS NOT NULL)"
            " AND (deleted_at IS NULL) = (password_hash IS NOT NULL)",
            name="deleted",
        ),
        CheckConstraint("length(display_name) BETWEEN 1 AND 100", name="display_name"),
        CheckConstraint("length(time_zone) BETWEEN 1 AND 100", name="time_zone"),
        Index("users_lower_username_idx", text("lower(username)"), unique=True),
        Index("users_email_idx", "email", unique=True),
        Index("users_folded_username_idx", text(folded_name("username")), unique=True),
        Index("users_created_at_idx", "created_at", "id"),
        Index("users_administrators_idx", "id", postgresql_where=text("is_admin")),
        Index("users_disabled_idx", "id", postgresql_where=text("disabled AND deleted_at IS NULL")),
        Index(
            "users_left_names_idx",
            "id",
            postgresql_where=text("deleted_at IS NOT NULL AND display_name IS NOT NULL"),
        ),
        USER_TEXTS.index,
        {"info": {"texts": USER_TEXTS}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    username: Mapped[str | None] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str | None] = mapped_column(Text)
    disabled: Mapped[bool] = mapped_column(server_default=text("false"))
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    display_name: Mapped[str | None] = mapped_column(Text)
    time_zone: Mapped[str] = mapped_column(Text, server_default=text("'UTC'"))
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))


class LoginSession(Base):
    """One login: the family of its refresh tokens, of which only the newest generation is good."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    generation: Mapped[int] = mapped_column(server_default=text("0"))
    user_agent: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    revoked_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))


class ApiKey(Base):
    """A user's key for programs; only the SHA-256 of its secret is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("length(secret_hash) = 32", name="secret_hash"),
        CheckConstraint("cardinality(scopes) > 0", name="scopes"),
        API_KEY_TEXTS.index,
        {"info": {"texts": API_KEY_TEXTS}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[bytes] = mapped_column(BYTEA)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
