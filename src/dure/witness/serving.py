"""A witness behind HTTP: `POST /add-checkpoint`, and its public key at `/`.

It has no TLS of its own: what is asked and answered is public and signed. Across a network put it behind a proxy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dure.ledger.keys import load_witness_signer
from dure.ledger.note import VerifierKey
from dure.witness.judging import Answer, Witness
from dure.witness.memory import WitnessMemory

if TYPE_CHECKING:
    import socket

KEY_FILE = "witness.key"
MEMORY_FILE = "witness.sqlite"
LARGEST_BODY = 64 * 1024
"""Bytes; 63 hashes and a checkpoint with a hundred signatures are a fraction of it."""


def make_witness_app(witness: Witness, public_key: str) -> Starlette:
    """The ASGI application of a witness."""

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                return PlainTextResponse("too large\n", 413, {"Connection": "close"})
        # Making it durable takes a disk's time, and others ask meanwhile.
        answer: Answer = await asyncio.to_thread(witness.add_checkpoint, body)
        return Response(answer.body, answer.status, media_type=answer.media_type)

    async def key(_: Request) -> Response:
        return PlainTextResponse(f"{public_key}\n")

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"]), Route("/", key)])


def serve_witness(
    folder: Path, logs: Mapping[str, VerifierKey], listener: socket.socket, on_ready: Callable[[str], None]
) -> None:
    """Serve the witness in `folder` until it is told to stop. `on_ready` is told the public key.

    Raises `FileNotFoundError` when none was made there, or `KeyFileError`.
    """
    import uvicorn

    signer = load_witness_signer(folder / KEY_FILE)
    with closing(WitnessMemory(folder / MEMORY_FILE)) as memory:
        witness = Witness(signer, logs, memory, lambda: time.time_ns() // 1_000_000_000)
        config = uvicorn.Config(make_witness_app(witness, str(signer.verifier)), log_level="warning", access_log=False)
        on_ready(str(signer.verifier))
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
