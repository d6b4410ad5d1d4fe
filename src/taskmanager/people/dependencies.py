"""What handlers ask for whose answers may show the people whom they name."""

from typing import Annotated

from fastapi import Query

from taskmanager.people.schemas import IncludePageQuery, IncludeQuery

Includes = Annotated[IncludeQuery, Query()]
IncludePageOf = Annotated[IncludePageQuery, Query()]
