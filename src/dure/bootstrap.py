"""The only file that knows which real parts are plugged in: ledger, executors, policy texts, control, API and portal.

Nothing here imports the kernel before `prepare_compilation` has said where compiled code is kept, so the imports of
everything that leads to it are inside functions.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from dure.control.clock import SteadyClock

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from uvicorn import Config, Server

    from dure.api.expectations import Expectations
    from dure.api.platform import Platform
    from dure.api.provider_sign_in import ProviderSignIn
    from dure.api.wire import Wire
    from dure.control.access import Caller
    from dure.control.control import Control
    from dure.control.orders import EngineAddress, Engines
    from dure.control.ports import Executor
    from dure.control.snapshots import Snapshots
    from dure.executors.engines_file import EngineSite
    from dure.executors.ray.site import RaySite
    from dure.executors.slurm.site import SlurmSite
    from dure.identity.settings import IdentitySettings
    from dure.ledger.contract import Ledger
    from dure.ledger.location import Location
    from dure.ledger.postgres import Candidate, PostgresLedger
    from dure.policy import PolicySet

LEDGER_FILE = "ledger.sqlite"
LEDGER_KEY_FILE = "ledger.key"
SECRETS_KEY_FILE = "secrets.key"
OPERATOR_FILE = "operator.token"
COMPILED_ROOMS = ("world", "kernel", "twin")
SNAPSHOT_FILE = "snapshot"
DATABASE_VARIABLE = "DURE_DATABASE"
_TAKE_SNAPSHOT = "from dure import bootstrap; bootstrap.take_snapshot()"
_KERNEL_FINISHED, _TWIN_FINISHED, _PACKING_FINISHED = "kernel-finished", "twin-finished", "packing-finished"
_COMPILE_FOR_SERVER = "from dure import bootstrap; bootstrap.compile_for_server()"
_COMPILATIONS_KEPT_S = 30 * 24 * 3600
SHUTDOWN_S = 3
"""How long open connections may take to end when the platform stops."""
DEPOSED = 75
"""Exit code of a server that is no longer the leader: start it again, and it stands by."""
ENGINE_PATIENCE_S = 10.0
"""How long a new leader waits for the engine of one that is just ending."""


class StartError(Exception):
    """The platform cannot be started; the message says why and what to do."""


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


class SystemClock(SteadyClock):
    """The machine's clock, which is never earlier than the end of the ledger that is handed over as `at_least_ms`."""

    def __init__(self, at_least_ms: int = 0) -> None:
        super().__init__(lambda: time.time_ns() // 1_000_000, lambda: time.monotonic_ns() // 1_000_000, at_least_ms)


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
        with _listener(host, port) as listener:
            prepare_state(state)
            location = _locate_ledger(state, database)
            engine_sites = _read_engines_file(engines_file)
            prepare_compilation()
            snapshots = SnapshotTaker(state, database, 0)
            stand_by = _StandBy(listener, entrance.wire, snapshots)
            with _compiling_for_server() as compiling, closing(_open_ledger(state, location, stand_by)) as ledger:
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


def prepare_state(state: Path) -> None:
    """Make the state folder if need be, for this user alone. Raises `StartError`."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
    except OSError as error:
        raise StartError(f"the state folder {state} cannot be used ({error.strerror}); choose another") from None


def prepare_compilation() -> None:
    """Choose where compiled code is kept; to be called before anything imports the kernel.

    The folder's name has a digest of the compiled rooms' sources, because the compiler only notices a change in the
    very file of a function, not in the functions it calls.
    """
    folder = _compiled_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.utime(folder)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def compile_everything() -> None:
    """Have the kernel compiled before anybody waits for it. Says so the first time, when it takes up to a minute."""
    if not _needs_compiling(_KERNEL_FINISHED):
        return
    # Before the compiler is imported, which takes a while by itself.
    sys.stderr.write("Compiling the kernel; this happens once and takes up to a minute ...\n")
    sys.stderr.flush()
    from dure.control.rehearsal import rehearse

    with _no_garbage_collection():
        rehearse(make_policy_set())
    _touch(_compiled_folder() / _KERNEL_FINISHED)
    _forget_old_compilations()


def compile_twin() -> None:
    """Have the twin's event loop compiled, or loaded, before its time is taken. Says so the first time."""
    if _needs_compiling(_TWIN_FINISHED):
        sys.stderr.write("Compiling the twin; this happens once and takes up to a minute ...\n")
        sys.stderr.flush()
    from dure.twin.run import warm_up

    with _no_garbage_collection():
        warm_up()
    _touch(_compiled_folder() / _TWIN_FINISHED)


def compile_packing() -> None:
    """Have the loop of `dure twin pack` compiled, or loaded, before its time is taken. Says so the first time."""
    if _needs_compiling(_PACKING_FINISHED):
        sys.stderr.write("Compiling the placement rules; this happens once and takes up to a minute ...\n")
        sys.stderr.flush()
    from dure.twin.packing import warm_up

    with _no_garbage_collection():
        warm_up()
    _touch(_compiled_folder() / _PACKING_FINISHED)


def _needs_compiling(finished: str) -> bool:
    """False when it was done before, as a file of this name says, or when nothing is compiled here."""
    return not (_compiled_folder() / finished).exists() and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Of what the compiler makes, little is garbage, and looking for it takes a sixth of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _forget_old_compilations() -> None:
    """Each version of the sources leaves some 30 MB behind; those nobody has used for a month are taken away."""
    for folder in _compiled_folder().parent.glob("compiled-*"):
        if time.time() - folder.stat().st_mtime > _COMPILATIONS_KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def _touch(marker: Path) -> None:
    # A cache may be emptied at any time, even while we fill it.
    marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.touch()


def make_policy_set() -> PolicySet:
    """The rules that come with Dure."""
    from dure.policy import PolicySet

    texts = {each.name: each.read_text("utf-8") for each in files("dure.policy").joinpath("rules").iterdir()}
    schema = next(text for name, text in texts.items() if name.endswith(".cedarschema"))
    return PolicySet(schema, {name: text for name, text in texts.items() if name.endswith(".cedar")})


def open_ledger(state: Path) -> Ledger:
    """The ledger in a state folder, with its key; both are made on the first start. Raises `StartError`."""
    from dure.ledger.location import Location

    return _open_ledger(state, Location(state / LEDGER_FILE))


def _locate_ledger(state: Path, database: str | None) -> Location:
    from dure.ledger.contract import LedgerError
    from dure.ledger.location import locate

    try:
        return locate(state, database)
    except LedgerError as error:
        raise StartError(str(error)) from None


def _open_ledger(
    state: Path, location: Location, stand_by: Callable[[Candidate], PostgresLedger] | None = None
) -> Ledger:
    """The ledger, for this server alone to append to. Stands by while another one leads. Raises `StartError`."""
    from dure.ledger import opening
    from dure.ledger.contract import LedgerError
    from dure.ledger.keys import KeyFileError

    try:
        # Logs of different platforms need different names, which say nothing else about them.
        return opening.open_ledger(state, location, f"dure/{secrets.token_hex(4)}", stand_by, _step_down)
    except (LedgerError, KeyFileError, OSError) as error:
        raise StartError(str(error)) from None


class _StandBy:
    """Answers that another server leads, until this one does."""

    def __init__(self, listener: socket.socket, wire: Wire, snapshots: SnapshotTaker) -> None:
        self._listener = listener
        self._wire = wire
        self._snapshots = snapshots
        self.until = 0.0
        """When this server took over, by the clock that measures how long its start takes."""

    def __call__(self, candidate: Candidate) -> PostgresLedger:
        """Wait for the lead. Raises `KeyboardInterrupt` when the process is told to stop."""
        import uvloop

        from dure.api.standby import Standby

        url = f"{self._wire.scheme}://{_name_of(self._listener)}"
        sys.stdout.write(f"Dure stands by at {url}: {candidate.leader() or 'another server'} leads\n")
        sys.stdout.flush()
        # What takes long is done before it is needed.
        warming = threading.Thread(target=_warm_up, name="warm-up", daemon=True)
        warming.start()
        standby = Standby(candidate, SystemClock(), self._wire, self._snapshots.consider)
        with closing(self._snapshots), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ledger = runner.run(standby.until_leading(self._listener.dup()))
        self.until = time.perf_counter()
        warming.join()
        return ledger


def _warm_up() -> None:
    from dure.control.rehearsal import rehearse

    rehearse(make_policy_set())


def _step_down(message: str) -> None:
    """Whoever no longer leads must tell no engine anything more, not even what is on its way.

    So it ends at once, as by a power cut, which everything here survives.
    """
    sys.stderr.write(f"Error: {message}\n")
    sys.stderr.flush()
    os._exit(DEPOSED)


def make_control(state: Path, ledger: Ledger) -> Control:
    """The loop's core on a ledger, with the system's randomness, and with the snapshot that the state folder has."""
    from dure.control.control import Control
    from dure.control.memory import RandomStreams

    random = RandomStreams(salts=os.urandom, tokens=os.urandom, nonces=os.urandom)
    latest = make_snapshots(state).latest
    with _no_garbage_collection():
        return Control(
            ledger, make_policy_set(), _secrets_key(state), random, str(state.absolute() / "checkpoints"), latest
        )


def make_snapshots(state: Path) -> Snapshots:
    """The snapshot file of a state folder."""
    from dure.control.snapshots import Snapshots
    from dure.control.vault import Vault

    return Snapshots(state / SNAPSHOT_FILE, Vault(_secrets_key(state), os.urandom), _program_digest(), _write_private)


def _secrets_key(state: Path) -> bytes:
    from dure.control.vault import KEY_BYTES

    return _load_or_create_key(state / SECRETS_KEY_FILE, KEY_BYTES)


def take_snapshot() -> None:
    """What the snapshot process does, for the state folder that it is told: take one, and write its position."""
    os.nice(19)
    prepare_compilation()
    from dure.control.snapshots import StoredEntries
    from dure.ledger.location import read_stored

    state = Path(sys.argv[1])
    location = _locate_ledger(state, os.environ.get(DATABASE_VARIABLE) or None)
    with _no_garbage_collection(), read_stored(location) as stored:
        position = make_snapshots(state).take(StoredEntries(stored))
    sys.stdout.write(f"{position}\n")


class SnapshotTaker:
    """Has a snapshot taken by a process of its own whenever one is due, so that nobody waits for it."""

    def __init__(self, state: Path, database: str | None, position: int) -> None:
        self._command = [sys.executable, "-c", _TAKE_SNAPSHOT, str(state)]
        # A database's address may hold a password, so it does not go on a command line.
        self._environment = os.environ | ({DATABASE_VARIABLE: database} if database else {})
        self._latest = position
        self._taking: subprocess.Popen[str] | None = None

    def consider(self, position: int) -> None:
        """Begin a new one if it is due and none is on its way. Returns at once."""
        from dure.control.snapshots import DUE_AFTER

        if position - self._latest < DUE_AFTER or (self._taking is not None and self._taking.poll() is None):
            return
        self._latest = position
        self._taking = subprocess.Popen(  # noqa: S603 (our own program)
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True
        )

    def close(self) -> None:
        """Give up the one that is on its way."""
        if self._taking is not None:
            self._taking.terminate()
            self._taking.wait()


def _program_digest() -> str:
    """Tells this very program from every other: a snapshot means nothing to another version."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("msgspec", "numpy"):
        digest.update(version(name).encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def make_engines(state: Path, engine_sites: Mapping[str, EngineSite] | None = None) -> Engines:
    """The executors of this machine, and of each site that the engines file names. Raises `StartError`."""
    from dure.control.orders import LOCAL, Engines
    from dure.executors.contract import ExecutorError
    from dure.executors.local.environment import USUAL_TERMS, Terms
    from dure.executors.local.executor import LocalExecutor

    sites = engine_sites or {}
    # Local sites are all this machine, and have one executor.
    terms = next((site for site in sites.values() if isinstance(site, Terms)), USUAL_TERMS)
    opened: dict[EngineAddress, Executor] = {}
    try:
        opened[LOCAL] = LocalExecutor(state / "local", terms)
        for name, site in sites.items():
            if not isinstance(site, Terms):
                address, executor = _open_engine(name, site)
                opened[address] = executor
    except ExecutorError as error:
        Engines(opened).close(kill=False)
        raise StartError(str(error)) from None
    return Engines(opened)


def _open_engine(name: str, site: SlurmSite | RaySite) -> tuple[EngineAddress, Executor]:
    from dure.control.orders import EngineAddress
    from dure.executors.ray.site import RaySite
    from dure.model.fleet import Engine

    # Each is loaded only where it is used: the server starts sooner without.
    if isinstance(site, RaySite):
        from dure.executors.ray.executor import RayExecutor

        return EngineAddress(Engine.RAY, name), RayExecutor(site)
    from dure.executors.slurm.executor import SlurmExecutor

    return EngineAddress(Engine.SLURM, name), SlurmExecutor(site)


def _read_engines_file(path: Path | None) -> dict[str, EngineSite]:
    if path is None:
        return {}
    from dure.executors.contract import ExecutorError
    from dure.executors.engines_file import read_engines_file

    try:
        return read_engines_file(path)
    except ExecutorError as error:
        raise StartError(str(error)) from None


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
) -> None:
    import uvloop

    from dure.api.expectations import Expectations
    from dure.api.platform import Platform
    from dure.api.sessions import Sessions
    from dure.api.wire import server_config
    from dure.control.loop import Loop

    control = make_control(state, ledger)
    engines = _engines_when_free(state, engine_sites)
    clock = SystemClock(at_least_ms=control.memory.history.latest_ms)
    expectations = Expectations(control, clock)
    public_url = entrance.settings.public_url
    sessions = Sessions(os.urandom, is_secure=entrance.is_secure, public_url=public_url)
    loop = Loop(control, clock, engines)
    platform = Platform(loop, clock, engines, sessions, expectations, entrance.settings)
    url = f"{entrance.wire.scheme}://{_name_of(listener)}"
    platform.provider_sign_in = _make_provider_sign_in(entrance.settings, url, clock)
    snapshots = SnapshotTaker(state, database, control.replayed_from)
    loop.after_commit = snapshots.consider
    _calm_garbage_collection()

    def say_ready() -> None:
        on_ready(_ready(state, platform, url, began))

    config = server_config(make_application(platform, state), entrance.wire, SHUTDOWN_S, entrance.is_secure)
    server = _make_server(config, platform, say_ready)
    try:
        with (
            _preparing(expectations, compiling),
            _keeping_accounts(engine_sites, control),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(server.serve(sockets=[listener]))
    finally:
        snapshots.close()
        platform.passwords.close()
        expectations.close()
        engines.close(kill_jobs)


@contextmanager
def _keeping_accounts(sites: Mapping[str, EngineSite], control: Control) -> Iterator[None]:
    """Have Slurm's accounts follow the nation, at the sites where Dure keeps them."""
    if not sites:
        yield
        return
    from dure.executors.slurm.reconciling import AccountKeeper
    from dure.executors.slurm.site import SlurmSite

    with ExitStack() as stack:
        for name, site in sites.items():
            if isinstance(site, SlurmSite) and site.account_root:
                stack.enter_context(closing(AccountKeeper(name, site, lambda: control.world.nation)))
        yield


def _engines_when_free(state: Path, sites: Mapping[str, EngineSite]) -> Engines:
    """The executors, which a leader that has just been replaced may hold for another moment."""
    deadline = time.monotonic() + ENGINE_PATIENCE_S
    while True:
        try:
            return make_engines(state, sites)
        except StartError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _make_provider_sign_in(settings: IdentitySettings, url: str, clock: SystemClock) -> ProviderSignIn | None:
    """How people sign in at the identity provider, if the identity file names one."""
    if settings.provider is None:
        return None
    from dure.api.provider_sign_in import ProviderSignIn
    from dure.identity.provider import Provider

    return ProviderSignIn(Provider(settings.provider, clock), settings.public_url or url, os.urandom, clock)


@contextmanager
def _compiling_for_server() -> Iterator[subprocess.Popen[bytes] | None]:
    """Have the kernel compiled, and go on while the simulation is, which only expected starts need.

    Another process compiles: this one has jobs to start, and keeps none of the compiler's memory. Raises `StartError`.
    """
    if not _needs_compiling(_KERNEL_FINISHED) and not _needs_compiling(_TWIN_FINISHED):
        yield None
        return
    command = [sys.executable, "-c", _COMPILE_FOR_SERVER]
    # In a session of its own, so that Ctrl-C reaches it by way of us.
    compiling = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603 (our own program)
    with compiling:
        assert compiling.stdout is not None
        try:
            if not compiling.stdout.readline():
                raise StartError("the kernel could not be compiled; the reason is above")
            yield compiling
        finally:
            compiling.terminate()


def compile_for_server() -> None:
    """What the compiling process does: it writes a line once the server can start, and compiles the simulation then."""
    prepare_compilation()
    compile_everything()
    sys.stdout.write("compiled\n")
    sys.stdout.flush()
    os.nice(10)
    compile_twin()


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


def _calm_garbage_collection() -> None:
    """What was loaded stays, and so does nearly everything that is made later: seldom look through it for cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def make_application(platform: Platform, state: Path) -> Starlette:
    """API and portal over a platform whose loop runs as long as the application."""
    from dure.api.app import make_app
    from dure.api.table import OPERATIONS
    from dure.portal.routes import routes

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await platform.loop.start()
        await _ensure_operator(platform, state)
        yield
        if platform.provider_sign_in is not None:
            await platform.provider_sign_in.provider.close()
        await platform.loop.close()

    return make_app(platform, OPERATIONS, routes(platform), lifespan)


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
    _write_private(file, f"{issued.text}\n".encode())


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


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens. Bound before anything else, so that a port in use is said at once and plainly."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}: {error.strerror}; name an address of this machine with --host"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        hint = "another server may be running there; stop it, or choose another with --port"
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror}; {hint}") from None
    return listener


def _name_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _load_or_create_key(path: Path, size: int) -> bytes:
    """A random key in a file that only this user can read. Raises `StartError` when the file holds something else."""
    if not path.exists():
        _write_private(path, os.urandom(size))
    key = path.read_bytes()
    if len(key) != size:
        raise StartError(f"{path} does not hold a key of {size} bytes; restore it from your backup")
    return key


def _write_private(path: Path, body: bytes) -> None:
    """Write a new file whole and durably, readable by this user alone."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _compiled_folder() -> Path:
    """Where code compiled from the present sources is kept, in this user's cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(sys.version.encode())
    for room in COMPILED_ROOMS:
        for source in sorted(Path(__file__).parent.joinpath(room).rglob("*.py")):
            # The compiler's own cache goes by where a file is and when it was written.
            digest.update(f"{source} {source.stat().st_mtime_ns}".encode() + source.read_bytes())
    return root / "dure" / f"compiled-{digest.hexdigest()[:16]}"
