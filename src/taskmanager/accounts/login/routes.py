"""Routes that log in, refresh a login and log out."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response

from taskmanager.accounts.dependencies import (
    Anyone,
    AppPasswordHasher,
    AppTokenSigner,
    AppWrites,
    Attempts,
    TokenGrant,
    UserAgent,
)
from taskmanager.accounts.login import login
from taskmanager.accounts.login.grants import TOKEN_REQUEST, RefreshGrant, token_error
from taskmanager.accounts.schemas import RefreshToken, Token
from taskmanager.errors import InvalidGrantError, InvalidTokenError
from taskmanager.http.answers import JsonAnswer, NoContent, json_answer
from taskmanager.http.dependencies import AppReads, AppSettings
from taskmanager.http.json_bodies import JSON
from taskmanager.http.problems import problems
from taskmanager.http.routing import FORMS, StrictRoute, api_router

router = api_router("", tag="accounts")


class LoginRoute(StrictRoute):
    """A route whose requests start one by one, before their bodies are read; its errors are OAuth's too."""

    @property
    def accepted_types(self) -> tuple[str, ...]:
        """The content types of a body: those of OAuth's forms, and JSON."""
        return (JSON, *FORMS)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Let each request wait at the entrance."""
        handle = super().get_route_handler()

        async def handle_in_turn(request: Request) -> Response:
            request.state.problem_members = token_error
            await request.app.state.password_hasher.enter()
            return await handle(request)

        return handle_in_turn


async def create_token(
    _: Anyone,
    grant: TokenGrant,
    attempts: Attempts,
    user_agent: UserAgent,
    reads: AppReads,
    writes: AppWrites,
    hasher: AppPasswordHasher,
    signer: AppTokenSigner,
    settings: AppSettings,
) -> Token:
    """Log in with user name and password, or go on with a refresh token (RFC 6749, sections 4.3 and 6).

    The same fields may come as a form: `application/x-www-form-urlencoded` or `multipart/form-data`.

    The access token goes into `Authorization`.
    """
    if isinstance(grant, RefreshGrant):
        try:
            return await login.refresh(
                grant.refresh_token, writes=writes, signer=signer, idle_days=settings.refresh_token_days
            )
        except InvalidTokenError:
            raise InvalidGrantError from None
    async with attempts.log_in(grant.username):
        return await login.log_in(
            username=grant.username,
            password=grant.password.get_secret_value(),
            user_agent=user_agent,
            reads=reads,
            writes=writes,
            hasher=hasher,
            signer=signer,
        )


router.add_api_route(
    "/token",
    create_token,
    methods=["POST"],
    responses=problems(400, 401, 413, 415, 422, 429, 503),
    openapi_extra=TOKEN_REQUEST,
    route_class_override=LoginRoute,
)


@router.post("/token/refresh", response_model=Token, responses=problems(400, 401, 413, 415, 422, 429, 503))
async def refresh_token(
    _: Anyone, given: RefreshToken, writes: AppWrites, signer: AppTokenSigner, settings: AppSettings
) -> JsonAnswer:
    """Exchange a refresh token for new tokens; a token that was spent before ends its login."""
    idle_days = settings.refresh_token_days
    return json_answer(await login.refresh(given.refresh_token, writes=writes, signer=signer, idle_days=idle_days))


@router.post("/token/revoke", status_code=204, responses=problems(400, 413, 415, 422, 429, 503))
async def revoke_token(_: Anyone, given: RefreshToken, writes: AppWrites, signer: AppTokenSigner) -> NoContent:
    """Log out; the answer is the same whether or not the token was good."""
    await login.log_out(given.refresh_token, writes=writes, signer=signer)
    return NoContent()
