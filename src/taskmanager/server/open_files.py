"""How many files a serving process may have open: each connection is one, and streams are many for long."""

import resource
from contextlib import suppress
from typing import Final

import structlog

from taskmanager.settings import Settings

# Connections to the database, sockets, the log, and what the interpreter opens now and then.
_OTHERS: Final = 100


def raise_open_files(settings: Settings) -> None:
    """Raise the soft limit of open files to the hard one, for this process and its workers, and log if that is too low.

    As many are needed as a worker may hold streams and requests.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS has no hard limit, and a lower one that it does not say
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    needed = settings.max_streams + settings.max_requests_in_flight + _OTHERS
    if limit != resource.RLIM_INFINITY and limit < needed:
        structlog.stdlib.get_logger("taskmanager.start").warning(
            "MAX_STREAMS + MAX_REQUESTS_IN_FLIGHT + 100 are more than the files that a process may have open",
            limit=limit,
            needed=needed,
        )
