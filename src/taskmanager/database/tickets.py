"""A request on its way through a shared statement."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from taskmanager.database.driver_errors import is_transient
from taskmanager.errors import DatabaseUnavailableError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Ticket(Generic[_Item, _Result]):
    """What a request asks for, its answer, and how long it waited and took, in seconds."""

    __slots__ = ("answer", "arrived", "item", "took", "waited")

    def __init__(self, item: _Item, answer: asyncio.Future[_Result | None]) -> None:
        self.item = item
        self.answer = answer
        self.arrived = time.perf_counter()
        self.waited = 0.0
        self.took = 0.0


def refuse(tickets: Iterable[Ticket[Any, Any]], failure: Exception) -> None:
    """Fail those requests that have no answer yet, with DatabaseUnavailableError if they are not to blame."""
    for ticket in tickets:
        if not ticket.answer.done():
            if not ticket.took:
                ticket.waited = time.perf_counter() - ticket.arrived
            error = failure
            if is_transient(failure):
                error = DatabaseUnavailableError(f"{type(failure).__name__}: {failure}")
                error.__cause__ = failure
            ticket.answer.set_exception(error)
