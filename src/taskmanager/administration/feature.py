"""What administrators do."""

from taskmanager.administration.routes import router
from taskmanager.features import Feature

FEATURE = Feature(routers=(router,))
