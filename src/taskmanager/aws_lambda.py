"""The service as a function of AWS Lambda: `taskmanager.aws_lambda.handler`, with the extra `lambda`.

Lambda passes one event at a time, freezes the process in between, and ends it without a word. So the application starts
with the first event, on an event loop that stays, and serves all later ones; it is never shut down.
"""

import asyncio
import logging
from functools import cache
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from mangum.types import LambdaContext, LambdaEvent

from taskmanager.main import create_configured_app
from taskmanager.telemetry.logs import log_writer


def handler(event: LambdaEvent, context: LambdaContext) -> dict[str, Any]:
    """Answer an event of API Gateway, of a function URL or of a load balancer.

    Raises:
        pydantic.ValidationError: A setting is missing, malformed or unsafe.
        taskmanager.database.database.SchemaError: The server or its schema does not fit this version.
        sqlalchemy.exc.DBAPIError: The database refused to have its schema looked at; the next event tries again.
    """
    try:
        answer: dict[str, Any] = _started_application().adapter(event, context)
        return answer
    finally:
        log_writer.flush()  # once the answer is there, the process is frozen


class _StartedApplication:
    def __init__(self) -> None:
        app = create_configured_app()
        app.state.webhook_sender.stop()
        app.state.followers.close()  # nobody waits in a process that is frozen between two events
        app.state.stream_feed.is_supported = False  # Mangum passes an answer on when it is complete
        logging.getLogger("mangum.http").setLevel(logging.WARNING)  # every request is in our own log already
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # where Mangum looks for it
        # Kept: unreachable, it would be finalised, and close the application's connections.
        self._lifespan = app.router.lifespan_context(app)
        try:
            loop.run_until_complete(self._lifespan.__aenter__())
        except BaseException:
            loop.close()
            raise
        # With Mangum's own lifespan the application would start and stop around every single event. What is not text
        # reaches the client in base64, unless the gateway is configured to decode it.
        self.adapter = Mangum(
            app, lifespan="off", text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, "application/problem+json"]
        )


_started_application = cache(_StartedApplication)
