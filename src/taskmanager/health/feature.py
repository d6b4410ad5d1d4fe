"""How the process is, for probes and metrics."""

from taskmanager.features import Feature
from taskmanager.health.routes import router

FEATURE = Feature(routers=(router,))
