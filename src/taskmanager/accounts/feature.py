"""Users, their logins and their API keys."""

from taskmanager.accounts.api_key.routes import router as api_key_router
from taskmanager.accounts.deletion.routes import router as deletion_router
from taskmanager.accounts.login.routes import router as login_router
from taskmanager.accounts.models import API_KEY_TEXTS, USER_TEXTS
from taskmanager.accounts.password.routes import router as password_router
from taskmanager.accounts.retention import PURGE_API_KEYS, PURGE_SESSIONS
from taskmanager.accounts.routes import router
from taskmanager.accounts.sessions.routes import router as sessions_router
from taskmanager.features import Feature
from taskmanager.maintenance.composing import compose_job

FEATURE = Feature(
    routers=(router, login_router, password_router, deletion_router, sessions_router, api_key_router),
    jobs=(PURGE_SESSIONS, PURGE_API_KEYS, compose_job(USER_TEXTS), compose_job(API_KEY_TEXTS)),
)
