"""`dure up`: everything put together and served until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from dure.bootstrap.compiling import calm_garbage_collection, compiling_for_server, prepare_compilation
from dure.bootstrap.engines import engines_when_free, keeping_accounts, read_engines
from dure.bootstrap.key_change import change_key_if_approved
from dure.bootstrap.listening import listen, name_of
from dure.bootstrap.platform import SystemClock, make_control
from dure.bootstrap.snapshots import SnapshotTaker
from dure.bootstrap.standby import StandBy
from dure.bootstrap.state import (
    LEDGER_KEY_FILE,
    OPERATOR_FILE,
    StartError,
    locate_ledger,
    open_located_ledger,
    prepare_state,
    write_private,
)
from dure.bootstrap.witnessing import collecting, make_cosigning, read_witnesses_file

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from uvicorn import Config, Server

    from dure.api.expectations import Expectations
    from dure.api.platform import Platform
    from dure.api.provider_sign_in import ProviderSignIn
    from dure.api.wire import Wire
    from dure.control.access import Caller
    from dure.executors.engines_file import EngineSite
    from dure.identity.settings import IdentitySettings
    from dure.ledger.contract import Ledger
    from dure.ledger.cosigning import Cosigning
    from dure.ledger.witnesses import Witnesses

SHUTDOWN_S = 3
"""How long open connections may take to end when the platform stops."""


class Ready(Struct, frozen=True, kw_only=True):
    """The platform serves at `url`. `sign_in_url` signs one browser in as operator, once, within ten minutes."""

    url: str
    sign_in_url: str
    operator_file: Path
    """Holds the operator's token; only this user can read it."""
    started_in_ms: int


class Entrance(NamedTuple):
    """How people come in: what they show, and how that is protected on the wire."""

    settings: IdentitySettings
    wire: Wire

    @property
    def is_secure(self) -> bool:
        """True when browsers reach the platform by TLS only."""
        return self.wire.certificate is not None or self.settings.public_url.startswith("https://")


def serve(
    state: Path,
    host: str,
    port: int,
    *,
    database: str | None = None,
    kill_jobs_at_end: bool = False,
    engines_file: Path | None = None,
    on_ready: Callable[[Ready], None] | None = None,
    identity: Path | None = None,
    wire: Wire | None = None,
    log_format: str = "text",
    witnesses_file: Path | None = None,
) -> int:
    """Run the platform until it is told to stop (SIGINT, SIGTERM). Returns the exit code.

    `identity` is the identity file: how people sign in. `wire` says how the server is protected beyond this machine.
    Jobs outlive the server unless `kill_jobs_at_end`; the next server on the same state folder adopts them. On a
    `database` that another server leads, this one stands by until it may take over.
    """
    _write_logs(log_format)
    began = time.perf_counter()
    if threading.current_thread() is threading.main_thread():
        # A service manager's way to say stop is ours too: everything is let go of in order.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Nothing is made before it is sure that this server can be reached.
    try:
        entrance = _read_entrance(identity, wire, host)
        with listen(host, port) as listener:
            prepare_state(state)
            location = locate_ledger(state, database)
            engine_sites = read_engines(engines_file)
            witnesses = read_witnesses_file(witnesses_file)
            prepare_compilation()
            snapshots = SnapshotTaker(state, database, 0)
            stand_by = StandBy(listener, entrance.wire, snapshots)
            with compiling_for_server() as compiling, closing(open_located_ledger(state, location, stand_by)) as ledger:
                say_ready = on_ready or _print_ready
                _serve(
                    state,
                    database,
                    ledger,
                    listener,
                    entrance,
                    engine_sites,
                    kill_jobs_at_end,
                    say_ready,
                    max(began, stand_by.until),
                    compiling,
                    witnesses,
                )
    except StartError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _read_entrance(identity: Path | None, wire: Wire | None, host: str) -> Entrance:
    """The identity file, and whether the server may listen like this. Raises `StartError`."""
    from dure.api.wire import Wire, WireError, check_wire
    from dure.identity.settings import IdentitySettings, read_identity_file
    from dure.intake.refusals import BadInput

    wire = wire or Wire()
    try:
        settings = read_identity_file(identity) if identity else IdentitySettings()
        check_wire(wire, host)
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"the identity file {identity} cannot be read ({error})") from None
    except BadInput as bad:
        raise StartError(
            f"the identity file {identity} cannot be used\n" + "\n".join(f"  {problem}" for problem in bad.problems)
        ) from None
    except WireError as error:
        raise StartError(str(error)) from None
    return Entrance(settings, wire)


def _write_logs(log_format: str) -> None:
    """Write log lines to standard error: `text` for people, `json` for programs."""
    from dure.api.logs import JsonLines, TextLines

    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    # Who was let in to change something is told too, not only who was not.
    logging.getLogger("dure").setLevel(logging.INFO)


def _serve(
    state: Path,
    database: str | None,
    ledger: Ledger,
    listener: socket.socket,
    entrance: Entrance,
    engine_sites: Mapping[str, EngineSite],
    kill_jobs: bool,
    on_ready: Callable[[Ready], None],
    began: float,
    compiling: subprocess.Popen[bytes] | None,
    witnesses: Witnesses | None,
) -> None:
    import uvloop

    from dure.api.expectations import Expectations
    from dure.api.platform import Platform
    from dure.api.sessions import Sessions
    from dure.api.wire import server_config
    from dure.control.loop import Loop
    from dure.ledger.keys import load_signer

    control = make_control(state, ledger)
    change_key_if_approved(state, control)
    engines = engines_when_free(state, engine_sites)
    clock = SystemClock(at_least_ms=control.memory.history.latest_ms)
    expectations = Expectations(control, clock)
    public_url = entrance.settings.public_url
    sessions = Sessions(os.urandom, is_secure=entrance.is_secure, public_url=public_url)
    loop = Loop(control, clock, engines)
    platform = Platform(loop, clock, engines, sessions, expectations, entrance.settings)
    url = f"{entrance.wire.scheme}://{name_of(listener)}"
    platform.provider_sign_in = _make_provider_sign_in(entrance.settings, url, clock)
    snapshots = SnapshotTaker(state, database, control.replayed_from)
    platform.cosigning = make_cosigning(ledger, witnesses, state)
    platform.signer = load_signer(state / LEDGER_KEY_FILE)
    loop.after_commit = partial(_after_commit, snapshots, platform.cosigning)
    calm_garbage_collection()

    def say_ready() -> None:
        on_ready(_ready(state, platform, url, began))

    config = server_config(make_application(platform, state), entrance.wire, SHUTDOWN_S, entrance.is_secure)
    server = _make_server(config, platform, say_ready)
    try:
        with (
            _preparing(expectations, compiling),
            keeping_accounts(engine_sites, control),
            collecting(platform.cosigning),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(server.serve(sockets=[listener]))
    finally:
        snapshots.close()
        platform.passwords.close()
        expectations.close()
        engines.close(kill_jobs)


def _after_commit(snapshots: SnapshotTaker, cosigning: Cosigning | None, position: int) -> None:
    snapshots.consider(position)
    if cosigning is not None:
        cosigning.wake()


def _make_provider_sign_in(settings: IdentitySettings, url: str, clock: SystemClock) -> ProviderSignIn | None:
    """How people sign in at the identity provider, if the identity file names one."""
    if settings.provider is None:
        return None
    from dure.api.provider_sign_in import ProviderSignIn
    from dure.identity.provider import Provider

    return ProviderSignIn(Provider(settings.provider, clock), settings.public_url or url, os.urandom, clock)


@contextmanager
def _preparing(expectations: Expectations, compiling: subprocess.Popen[bytes] | None) -> Iterator[None]:
    """Load the simulation that expected starts need, when it is compiled."""
    if compiling is None:
        _load_simulation(expectations)
        yield
        return
    waiting = threading.Thread(target=_load_when_compiled, args=(compiling, expectations), daemon=True)
    waiting.start()
    try:
        yield
    finally:
        compiling.terminate()
        waiting.join(SHUTDOWN_S)


def _load_when_compiled(compiling: subprocess.Popen[bytes], expectations: Expectations) -> None:
    if compiling.wait() == 0:
        _load_simulation(expectations)


def _load_simulation(expectations: Expectations) -> None:
    from dure.twin.forecast import warm_up

    warm_up()
    expectations.is_prepared = True


def make_application(platform: Platform, state: Path) -> Starlette:
    """API and portal over a platform whose loop runs as long as the application."""
    from dure.api.app import make_app
    from dure.api.table import OPERATIONS
    from dure.portal.routes import routes

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await platform.loop.start()
        await _ensure_operator(platform, state)
        await _reassess_models(platform)
        yield
        if platform.provider_sign_in is not None:
            await platform.provider_sign_in.provider.close()
        await platform.loop.close()

    return make_app(platform, OPERATIONS, routes(platform), lifespan)


async def _reassess_models(platform: Platform) -> None:
    """This program may have come with newer rule packs than the one before."""
    from dure.control.access import PLATFORM
    from dure.control.oversight.model_requests import ReassessModels

    if any(model.assessed_by for model in platform.control.memory.register.models.models.values()):
        await platform.ask(ReassessModels(caller=PLATFORM))


async def _ensure_operator(platform: Platform, state: Path) -> None:
    """Whoever can read the state folder may operate the platform: make sure that its token file works."""
    from dure.control.access import PLATFORM, Role
    from dure.control.requests import IssueToken, TokenIssuedOnce

    file = state / OPERATOR_FILE
    if file.exists() and _operator(platform, state) is not None:
        return
    issued = await platform.ask(IssueToken(caller=PLATFORM, role=Role.OPERATOR))
    assert isinstance(issued, TokenIssuedOnce), issued
    file.unlink(missing_ok=True)
    write_private(file, f"{issued.text}\n".encode())


def _operator(platform: Platform, state: Path) -> Caller | None:
    """Who the token in the state folder speaks for, if it is accepted."""
    token = (state / OPERATOR_FILE).read_text("utf-8").strip()
    return platform.control.memory.tokens.caller(token, platform.clock.now_ms())


def _ready(state: Path, platform: Platform, url: str, began: float) -> Ready:
    operator = _operator(platform, state)
    assert operator is not None, "the token file was made before the first request"
    ticket = platform.sessions.new_ticket(operator, platform.clock.now_ms())
    return Ready(
        url=url,
        sign_in_url=f"{url}/login?ticket={ticket}",
        operator_file=state / OPERATOR_FILE,
        started_in_ms=round((time.perf_counter() - began) * 1000),
    )


def _print_ready(ready: Ready) -> None:
    sys.stdout.write(
        f"Dure serves at {ready.url} (ready in {ready.started_in_ms / 1000:.1f} s)\n"
        f"Operator token: {ready.operator_file}\n"
        f"Sign in (works once): {ready.sign_in_url}\n"
    )
    sys.stdout.flush()


def _make_server(config: Config, platform: Platform, say_ready: Callable[[], None]) -> Server:
    import uvicorn

    class DureServer(uvicorn.Server):
        """Says when it is ready, and ends event streams as soon as it is told to stop."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                say_ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Event streams never end by themselves; connections are only waited for after this.
            platform.loop.feed.close()
            await super().shutdown(sockets)

    return DureServer(config)
