"""Users, their logins and their API keys."""

from taskmanager.accounts.routes import router
from taskmanager.features import Feature

FEATURE = Feature(routers=(router,))
