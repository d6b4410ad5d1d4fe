"""How an answer that is sent over a long time reaches its connection."""

import os
import socket
from contextlib import suppress
from struct import pack
from typing import Final

from starlette.types import Scope

# Where a scope holds the transport of the connection, if the server says it.
TRANSPORT: Final = "taskmanager.transport"
# Where a scope says that the headers of the answer are wanted alone: HEAD is asked as GET.
IS_HEAD: Final = "taskmanager.is_head"
_DROP_WHAT_IS_UNSENT: Final = pack("ii", 1, 0)


def abort(scope: Scope) -> None:
    """Cut the connection of a client that does not read, and forget what it has not read.

    Closed, it would last as long as the client likes, and the system would keep megabytes for it (SO_LINGER in
    socket(7)).
    """
    if (transport := scope.get(TRANSPORT)) is None:
        return
    connection = transport.get_extra_info("socket")
    # That of uvloop takes no options itself.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_WHAT_IS_UNSENT)
    transport.abort()
