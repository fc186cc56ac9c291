"""A real Slurm on this machine: munge, one controller, four nodes of eight GPUs, in a folder and on ports of its own.

The nodes' GPUs are only names: terminals of this machine stand for them, which Slurm never opens.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol")
NODES = 4
GPUS_PER_NODE = 8
_PATIENCE_S = 30.0
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SLURM_CONF = """\
ClusterName=dure
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock
CredType=cred/munge
SlurmctldPort={controller_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,bf_resolution=1,batch_sched_delay=0,sched_min_interval=10000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MessageTimeout=5
TreeWidth=65533
SlurmdTimeout=30
PriorityType=priority/multifactor
JobCompType=jobcomp/none
NodeName=n[0-{last}] NodeHostname={host} NodeAddr=127.0.0.1 Port={node_ports} \\
    CPUs=16 RealMemory=64000 Gres=gpu:h100:{gpus} State=UNKNOWN
PartitionName=gpu Nodes=n[0-{last}] Default=YES DefMemPerCPU=100 MaxTime=INFINITE State=UP
"""
_WITHOUT_ACCOUNTING = "AccountingStorageType=accounting_storage/none\n"
_GRES_CONF = "NodeName=n[0-{last}] Name=gpu Type=h100 File={device}[0-{last_gpu}]\n"


def missing() -> str:
    """Why no Slurm can be started here; empty when one can."""
    absent = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
    if absent:
        return f"needs Slurm and munge (Debian: slurmctld slurmd slurm-client munge); not found: {', '.join(absent)}"
    if os.getuid() != 0:
        return "needs root, because Slurm's daemons and the nodes' devices do"
    return ""


class SlurmCluster:
    """The daemons and their configuration. `close` ends them."""

    def __init__(self, accounting: str = _WITHOUT_ACCOUNTING) -> None:
        # Slurm puts sockets in here, whose names may have 108 characters: a test's own folder is too deep for them.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="slurm"))
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("conf", "run", "log", "state", *(f"spool/n{index}" for index in range(NODES))):
            (folder / name).mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.conf = folder / "conf" / "slurm.conf"
        self._write_configuration(accounting)
        self._start_munge()

    def start(self) -> None:
        """Start the controller and all nodes; returns once jobs can run."""
        self.start_controller()
        for index in range(NODES):
            self.start_node(index)
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Returns once every node is free and in service."""
        self.wait_until(lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == str(NODES), "idle nodes")

    def start_controller(self) -> None:
        """Start the controller; returns once it answers."""
        self._start("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
        self.wait_until(lambda: "is UP" in self.run("scontrol", "ping"), "the controller")

    def stop_controller(self) -> None:
        self._stop("slurmctld")

    def lose_state(self) -> None:
        """Have the controller start anew with an empty state folder, and with job numbers that are new too."""
        self.stop_controller()
        shutil.rmtree(self.folder / "state")
        (self.folder / "state").mkdir()
        with self.conf.open("a") as file:
            file.write(f"FirstJobId={int(time.time()) % 10_000_000}\n")
        self.start_controller()

    def start_node(self, index: int) -> None:
        self._start(f"n{index}", "slurmd", "-D", "-f", str(self.conf), "-N", f"n{index}")

    def stop_node(self, index: int) -> None:
        self._stop(f"n{index}")

    def run(self, program: str, *arguments: str, text: str = "") -> str:
        """One of Slurm's commands, which may fail."""
        done = subprocess.run(
            [program, *arguments], input=text, capture_output=True, text=True, env=self.environment, timeout=60
        )
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": SEARCHED,
            "SLURM_CONF": str(self.conf),
        }

    def close(self) -> None:
        """End every job, then every daemon, the one that others need last."""
        with suppress(subprocess.TimeoutExpired):
            self.run("scancel", "--full", "--signal=KILL", "--user", getpass.getuser())
        for name in reversed(list(self._daemons)):
            self._stop(name)
        self._kill_stepds()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_until(self, is_met: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not is_met():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.last_words()}"
            time.sleep(0.05)

    def last_words(self) -> str:
        """The end of every daemon's log."""
        return "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in (self.folder / "log").iterdir())

    def _write_configuration(self, accounting: str) -> None:
        controller_port, *node_ports = free_ports(1 + NODES)
        text = _SLURM_CONF.format(
            folder=self.folder,
            host=socket.gethostname().split(".")[0],
            user=getpass.getuser(),
            controller_port=controller_port,
            node_ports=",".join(map(str, node_ports)),
            last=NODES - 1,
            gpus=GPUS_PER_NODE,
        )
        self.conf.write_text(text + accounting.format(folder=self.folder))
        gres = _GRES_CONF.format(last=NODES - 1, device=self._devices(), last_gpu=GPUS_PER_NODE - 1)
        self.conf.with_name("gres.conf").write_text(gres)

    def _devices(self) -> str:
        """The beginning of the names of eight character devices."""
        if all(Path(f"/dev/tty{index}").is_char_device() for index in range(GPUS_PER_NODE)):
            return "/dev/tty"
        for index in range(GPUS_PER_NODE):
            os.mknod(self.folder / f"gpu{index}", 0o20600, os.makedev(1, 3))
        return str(self.folder / "gpu")

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        run, log = self.folder / "run", self.folder / "log"
        places = [f"--socket={run}/munge.sock", f"--pid-file={run}/munged.pid", f"--seed-file={run}/munged.seed"]
        command = ["munged", "--foreground", "--force", f"--key-file={key}", f"--log-file={log}/munged.log", *places]
        self._start("munged", *command)
        self.wait_until((run / "munge.sock").exists, "munge")

    def _kill_stepds(self) -> None:
        """The guards of single steps outlive their daemon, and wait for it in vain."""
        mine = f"SLURM_CONF={self.conf}".encode()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mine in environment.read_bytes().split(b"\0"):
                    os.kill(int(environment.parent.name), signal.SIGKILL)

    def _start(self, name: str, *command: str) -> None:
        """Start a daemon in a session of its own, which also holds what it starts."""
        with (self.folder / "log" / f"{name}.output").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def _stop(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.terminate()
        try:
            daemon.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
