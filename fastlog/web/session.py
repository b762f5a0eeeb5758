"""Session: whether a login is needed, and how one logs in and out."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from fastlog.web.access import COOKIE, LIFETIME
from fastlog.web.answers import json_answer
from fastlog.web.endpoint import Endpoint, Values
from fastlog.web.failures import RequestError
from fastlog.web.schemas import FLAG, TEXT, obj
from fastlog.web.site import Site

MAX_BODY: Final = 4096
"""Bytes of the body of a request."""
BODY_SECONDS: Final = 10.0
_CHECKING = asyncio.Lock()
"""One password is checked at a time, which bounds memory and processor."""


class _Login(msgspec.Struct):
    password: str


async def _session(site: Site, request: Request, values: Values) -> Response:
    return json_answer(
        {
            "login_needed": site.access.is_needed,
            "can_log_in": site.access.has_password,
            "logged_in": site.access.is_allowed(request),
        }
    )


async def _login(site: Site, request: Request, values: Values) -> Response:
    try:
        body = await asyncio.wait_for(_read_body(request), BODY_SECONDS)
    except TimeoutError:
        raise RequestError("the body did not arrive in time", 408) from None
    try:
        password = msgspec.json.decode(body, type=_Login).password
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise RequestError('expected the body {"password": "…"}') from None
    if not site.access.has_password:
        raise RequestError("there is no password to log in with", 403)
    host = request.client.host if request.client else ""
    site.access.begin_attempt(host)
    async with _CHECKING:
        is_right = await asyncio.to_thread(site.access.check, password)
    if not is_right:
        raise RequestError("the password is wrong", 403)
    answer = json_answer({"logged_in": True})
    answer.set_cookie(
        COOKIE,
        site.access.log_in(host),
        max_age=LIFETIME,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise RequestError(f"the body has more than {MAX_BODY} bytes", 413)
    return body


async def _logout(site: Site, request: Request, values: Values) -> Response:
    site.access.log_out(request)
    answer = json_answer({"logged_in": False})
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


_STATE = obj(logged_in=FLAG)
ENDPOINTS = (
    Endpoint(
        "/session",
        "Whether a login is needed, and whether this request has one.",
        _session,
        answer=obj(login_needed=FLAG, can_log_in=FLAG, logged_in=FLAG),
        is_open=True,
    ),
    Endpoint(
        "/login",
        "Log in with the password; the answer sets a cookie.",
        _login,
        answer=_STATE,
        method="POST",
        body=obj(password=TEXT),
        failures=(403, 408, 413, 429),
        is_open=True,
    ),
    Endpoint("/logout", "Log out.", _logout, answer=_STATE, method="POST", is_open=True),
)
