"""The platform's lives: each is one process on the one ledger, from its start to whatever ends it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from dure.control.access import Caller
from dure.control.clock import SteadyClock
from dure.control.control import Control
from dure.control.loop import Loop
from dure.control.memory import RandomStreams
from dure.control.orders import Engines
from dure.control.requests import Reply, Request, SubmitJob
from dure.intake.jobfile import job_from_json, job_from_yaml
from dure.intake.refusals import BadInput
from dure.intake.sbatch import job_from_sbatch
from dure.policy import PolicySet
from tests.simulation.disk import SimulatedDisk, SimulatedLedger
from tests.simulation.engine import SimulatedEngine
from tests.simulation.event_loop import SimulatedLoop
from tests.simulation.executor import SimulatedExecutor
from tests.simulation.faults import Faults
from tests.simulation.scheduler import EPOCH_MS, SECOND_US, Scheduler

VAULT_KEY = b"k" * 32
RESTART_US = 3 * SECOND_US
SLOWEST_ENGINE_US = 5_000


class WallClock:
    """The machine's clock, which is set now and then."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.is_off_ms = 0

    def read_ms(self) -> int:
        return EPOCH_MS + self.scheduler.now_us // 1000 + self.is_off_ms


class Server:
    """Runs one life of the platform after the other."""

    def __init__(
        self,
        scheduler: Scheduler,
        faults: Faults,
        disk: SimulatedDisk,
        engines: list[SimulatedEngine],
        policy_set: PolicySet,
    ) -> None:
        self.scheduler = scheduler
        self.faults = faults
        self.disk = disk
        self.engines = engines
        self.policy_set = policy_set
        self.wall = WallClock(scheduler)
        self.lives = 0
        self.life: Life | None = None

    def start(self) -> None:
        """Begin a life, unless one goes on."""
        if self.life is None:
            self.lives += 1
            self.scheduler.note("server", f"starts, life {self.lives}")
            self.life = Life(self, self.lives)
            self.life.begin()

    def kill(self, why: str) -> None:
        """End the process at once; whoever restarts it does so a moment later."""
        if self.life is not None:
            self.scheduler.note("server", why)
            self.life.loop.die()

    def stop(self) -> None:
        """Ask the process to end in order, as a service manager does."""
        if self.life is not None and self.life.is_ready:
            self.scheduler.note("server", "is asked to stop")
            self.life.stop()

    def close(self) -> None:
        """The story is over: let go of the ledger's file, for good."""
        if self.life is not None:
            self.life.loop.on_death = self.life.ledger.close
            self.life.loop.die()
            self.life = None

    def ended(self, life: Life) -> None:
        """A life is over; the next begins after a while."""
        assert life is self.life
        self.life = None
        for engine in self.engines:
            engine.links.clear()
        self.disk.crash(life.ledger)
        self.scheduler.after(self.scheduler.stream(f"restart {self.lives}").randint(1, RESTART_US), self.start)

    def ask(self, request: Request, on_reply: Callable[[Reply], None]) -> bool:
        """Send a request; False when nobody listens. The reply may never come."""
        life = self.life
        if life is None or not life.is_ready:
            return False
        life.ask(request, on_reply)
        return True


class Life:
    """One process of the platform."""

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.number = number
        scheduler = server.scheduler
        self.loop = SimulatedLoop(scheduler, scheduler.stream(f"process {number}"), self._slowest_us)  # type: ignore[abstract]
        self.loop.on_death = lambda: server.ended(self)
        self.ledger: SimulatedLedger = server.disk.open()
        self.is_ready = False
        self.clock: SteadyClock
        self.control: Control
        self.platform: Loop

    def begin(self) -> None:
        """What `dure up` does: read the ledger, connect the engines, begin."""
        self.loop.inside(self._build)
        if not self.loop.is_dead:
            self.loop.create_task(self._serve())

    def ask(self, request: Request, on_reply: Callable[[Reply], None]) -> None:
        """Handle a request that came over the network."""
        self.loop.create_task(self._answer(request, on_reply))

    def stop(self) -> None:
        """Close in order, then end."""
        self.is_ready = False
        self.loop.create_task(self._close())

    def _build(self) -> None:
        streams = {
            name: self.server.scheduler.stream(f"{name} {self.number}") for name in ("salts", "tokens", "nonces")
        }
        random_streams = RandomStreams(**{name: stream.randbytes for name, stream in streams.items()})
        self.control = Control(self.ledger, self.server.policy_set, VAULT_KEY, random_streams, "/checkpoints")
        wall, scheduler = self.server.wall, self.server.scheduler
        self.clock = SteadyClock(wall.read_ms, lambda: scheduler.now_us // 1000, self.control.memory.history.latest_ms)
        self.platform = Loop(self.control, self.clock, self._engines())

    def _engines(self) -> Engines:
        wall = self.server.wall
        return Engines({each.address: SimulatedExecutor(each, wall.read_ms) for each in self.server.engines})

    async def _serve(self) -> None:
        try:
            await self.platform.start()
        except Exception as error:
            self.server.scheduler.note("server", f"could not start: {error}")
            self.loop.die()
            return
        self.is_ready = True
        self.server.scheduler.note("server", f"is ready with {self.control.position} entries")

    async def _answer(self, request: Request, on_reply: Callable[[Reply], None]) -> None:
        on_reply(await self.platform.ask(request))

    async def _close(self) -> None:
        await self.platform.close()
        self.loop.die()

    def _slowest_us(self, thread: str) -> int:
        return self.server.disk.slowest_us() if thread == "append" else SLOWEST_ENGINE_US


def read_job(kind: str, body: bytes, caller: Caller, key: str) -> SubmitJob | BadInput:
    """What the API makes of a body before it asks the loop."""
    try:
        match kind:
            case "application/json":
                spec = job_from_json(body)
            case "text/x-shellscript":
                spec = job_from_sbatch(body.decode()).spec
            case _:
                spec = job_from_yaml(body.decode())
    except BadInput as bad:
        return bad
    digest = hashlib.sha256(kind.encode() + b"\0" + body).hexdigest()
    return SubmitJob(caller=caller, spec=spec, key=key, digest=digest)
