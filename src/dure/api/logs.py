"""Log lines, as text for people or as JSON for programs, each with the request that it was written for.

A request brings its id in `X-Request-Id`, or gets one; it stands in every line that is written while the request is
handled, and in the answer. Lines about a job or an attempt name it in a field of its own.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_FIELDS = ("job", "attempt")
"""What a line may be about, given to the logger as `extra`."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being handled; empty outside one."""


class RequestIds:
    """Gives every request an id, and every answer that of its request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
        # Whatever is not a plain id would let a stranger write into the log.
        name = given if _ID.fullmatch(given) else secrets.token_hex(8).encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (REQUEST_ID, name)]
            await send(message)

        token = request_id.set(name.decode())
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            request_id.reset(token)


class TextLines(logging.Formatter):
    """A line for people: time in UTC, level, logger, what happened, and what it is about."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback."""
        about = "".join(f" {name}={value}" for name, value in _about(record).items())
        return super().formatMessage(record) + about


class JsonLines(logging.Formatter):
    """One JSON object a line, with a traceback as text in `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole line."""
        line: dict[str, Any] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()

    converter = staticmethod(time.gmtime)


def _about(record: logging.LogRecord) -> dict[str, str]:
    about = {name: str(vars(record)[name]) for name in _FIELDS if name in vars(record)}
    current = request_id.get()
    return {"request_id": current} | about if current else about
