"""Where compiled code is kept, and who compiles it: once per version and user, for a server in a process of its own."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dure.bootstrap.rules import make_policy_set
from dure.bootstrap.state import StartError

if TYPE_CHECKING:
    pass

COMPILED_ROOMS = ("world", "kernel", "twin")


_KERNEL_FINISHED, _TWIN_FINISHED, _PACKING_FINISHED = "kernel-finished", "twin-finished", "packing-finished"


_COMPILE_FOR_SERVER = "from dure import bootstrap; bootstrap.compile_for_server()"


_COMPILATIONS_KEPT_S = 30 * 24 * 3600


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

    with no_garbage_collection():
        rehearse(make_policy_set())
    _touch(_compiled_folder() / _KERNEL_FINISHED)
    _forget_old_compilations()


def compile_twin() -> None:
    """Have the twin's event loop compiled, or loaded, before its time is taken. Says so the first time."""
    if _needs_compiling(_TWIN_FINISHED):
        sys.stderr.write("Compiling the twin; this happens once and takes up to a minute ...\n")
        sys.stderr.flush()
    from dure.twin.run import warm_up

    with no_garbage_collection():
        warm_up()
    _touch(_compiled_folder() / _TWIN_FINISHED)


def compile_packing() -> None:
    """Have the loop of `dure twin pack` compiled, or loaded, before its time is taken. Says so the first time."""
    if _needs_compiling(_PACKING_FINISHED):
        sys.stderr.write("Compiling the placement rules; this happens once and takes up to a minute ...\n")
        sys.stderr.flush()
    from dure.twin.packing import warm_up

    with no_garbage_collection():
        warm_up()
    _touch(_compiled_folder() / _PACKING_FINISHED)


def _needs_compiling(finished: str) -> bool:
    """False when it was done before, as a file of this name says, or when nothing is compiled here."""
    return not (_compiled_folder() / finished).exists() and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


@contextmanager
def no_garbage_collection() -> Iterator[None]:
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


@contextmanager
def compiling_for_server() -> Iterator[subprocess.Popen[bytes] | None]:
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


def calm_garbage_collection() -> None:
    """What was loaded stays, and so does nearly everything that is made later: seldom look through it for cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _compiled_folder() -> Path:
    """Where code compiled from the present sources is kept, in this user's cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(sys.version.encode())
    for room in COMPILED_ROOMS:
        for source in sorted(Path(__file__).parents[1].joinpath(room).rglob("*.py")):
            # The compiler's own cache goes by where a file is and when it was written.
            digest.update(f"{source} {source.stat().st_mtime_ns}".encode() + source.read_bytes())
    return root / "dure" / f"compiled-{digest.hexdigest()[:16]}"
