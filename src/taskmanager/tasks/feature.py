"""Tasks, and their search index."""

from fastapi import FastAPI

from taskmanager.features import Feature
from taskmanager.maintenance.composing import compose_job
from taskmanager.tasks.bulk.routes import router as bulk_router
from taskmanager.tasks.counting.routes import router as counting_router
from taskmanager.tasks.models import TEXTS
from taskmanager.tasks.ordering.routes import router as ordering_router
from taskmanager.tasks.routes import project_router, router
from taskmanager.tasks.search_index import SearchIndexUpkeep
from taskmanager.tasks.statements import FOLLOWED


async def keep_search_index(app: FastAPI) -> None:
    """Merge the search index's pending list whenever it is due."""
    await SearchIndexUpkeep(app.state.writes).run()


# Bulk and counts before the tasks, whose ids would take "bulk" and "counts" for one of theirs.
FEATURE = Feature(
    routers=(counting_router, project_router, bulk_router, router, ordering_router),
    entities=(FOLLOWED,),
    background=(keep_search_index,),
    jobs=(compose_job(TEXTS),),
)
