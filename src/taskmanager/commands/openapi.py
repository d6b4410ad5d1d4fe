"""The OpenAPI document of this version, for people and programs that have no service at hand."""

import json
from typing import Any

from pydantic import SecretStr

from taskmanager.main import create_app
from taskmanager.settings import Settings


def describe() -> dict[str, Any]:
    """Return the document; it depends on no setting, so none is read."""
    settings = Settings.model_construct(
        database_url="postgresql+asyncpg://nowhere/none", secret_key=SecretStr("-" * 32)
    )
    app = create_app(settings)
    app.state.password_hasher.close()
    return app.openapi()


def render(document: dict[str, Any]) -> str:
    """Return the document as JSON, in an order that stays the same from version to version."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
