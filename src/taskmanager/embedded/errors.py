"""The one error of the embedded PostgreSQL."""


class EmbeddedPostgresError(Exception):
    """The private PostgreSQL server cannot be set up, started or stopped; the message is one line."""
