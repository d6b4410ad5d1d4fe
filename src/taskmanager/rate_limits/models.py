"""What has been taken of each rate limit."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.database.database import Base


class RateLimit(Base):
    """How many permits of a key all processes have taken in its window, of how many, and when the window ends."""

    __tablename__ = "rate_limits"
    __table_args__ = (
        Index("rate_limits_resets_at_idx", "resets_at"),
        # Not written to the log of the server: cheap, and empty after a crash.
        {"prefixes": ["UNLOGGED"]},
    )

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    used: Mapped[int] = mapped_column(BigInteger)
    quota: Mapped[int] = mapped_column(BigInteger)
    resets_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True))
