"""The worker class for gunicorn, with the extra `gunicorn`: uvicorn's, with the protocol that `serve` has."""

from typing import Any

from uvicorn_worker import UvicornWorker


class Worker(UvicornWorker):  # type: ignore[misc]  # it comes without types
    """Serves as a worker of `serve` does; `TRUSTED_PROXIES` alone decides which proxies are believed."""

    CONFIG_KWARGS: dict[str, Any] = {
        **UvicornWorker.CONFIG_KWARGS,
        "http": "taskmanager.server.uvicorn_protocol:CorkedHttpProtocol",
        "ws": "none",
        "server_header": False,
        "proxy_headers": False,
    }
