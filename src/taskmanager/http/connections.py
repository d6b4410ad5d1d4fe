"""How an answer that is sent over a long time reaches its connection."""

from typing import Final

from starlette.types import Scope

# Where a scope holds the transport of the connection, if the server says it.
TRANSPORT: Final = "taskmanager.transport"
# Where a scope says that the headers of the answer are wanted alone: HEAD is asked as GET.
IS_HEAD: Final = "taskmanager.is_head"


def abort(scope: Scope) -> None:
    """Cut the connection of a client that does not read; closed, it would last as long as the client likes."""
    if (transport := scope.get(TRANSPORT)) is not None:
        transport.abort()
