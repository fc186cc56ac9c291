"""One rank between fork and exec: it waits for the gate, puts on its own clothes, and becomes the job's program."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator

from dure.executors.local import records
from dure.executors.local.order import Order

NOT_FOUND = 127
NOT_RUNNABLE = 126
"""Exit codes for a program that cannot be run, as every shell gives them."""
_NEVER_RELEASED = 125
# The first argument is where to begin; the rest is what to run there.
_IN_SANDBOX = 'cd "$1" || exit 126; shift; exec "$@"'


def become(order: Order, rank: int, environment: dict[str, str], gate: int, output: int, file_mode_mask: int) -> None:
    """Turn this forked process into the rank's program, which writes to `output`. Never returns.

    Nothing of the job runs before the gate gives a byte; if the gate closes instead, nothing ever will.
    """
    os.setsid()
    if not os.read(gate, 1):
        os._exit(_NEVER_RELEASED)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.umask(file_mode_mask)
    _restore_signals()
    order.limits.apply()
    if order.sandboxes:
        _execute_in_sandbox(order, order.sandboxes[rank], environment)
    try:
        os.chdir(order.workdir)
    except OSError as error:
        _give_up(f"cannot enter the working folder {order.workdir}: {error.strerror}", NOT_RUNNABLE)
    _execute(order.argv, environment)


def _execute_in_sandbox(order: Order, options: list[str], environment: dict[str, str]) -> None:
    """Become bubblewrap, which becomes the program.

    Bubblewrap itself runs outside, so it sees no variable of the job, which could have the loader run code of the
    job's. The job's variables travel in memory, as do all options: a command line is there for everybody to read.
    """
    variables = [word for name, value in environment.items() for word in ("--setenv", name, value)]
    memory = os.memfd_create("options", 0)
    with open(memory, "wb", closefd=False) as file:
        file.writelines(_null_terminated([*options, *variables]))
    os.lseek(memory, 0, os.SEEK_SET)
    inside = ["/bin/sh", "-c", _IN_SANDBOX, "dure", order.workdir, *order.argv]
    _execute([records.BUBBLEWRAP, "--args", str(memory), "--", *inside], {"PATH": os.defpath})


def _null_terminated(words: list[str]) -> Iterator[bytes]:
    return (os.fsencode(word) + b"\0" for word in words)


def _execute(argv: list[str], environment: dict[str, str], patience: int = 100) -> None:
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - running what a member wrote is what it is for
    except FileNotFoundError:
        _give_up(_not_found(argv[0], environment), NOT_FOUND)
    except PermissionError:
        _give_up(f"{argv[0]} may not be executed; check its permissions with ls -l", NOT_RUNNABLE)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ETXTBSY and patience > 0:
            # A process forked while the script was being written holds it open for an instant longer.
            time.sleep(0.01)
            _execute(argv, environment, patience - 1)
        _give_up(f"{argv[0]} cannot be executed: {error}", NOT_RUNNABLE)


def _not_found(program: str, environment: dict[str, str]) -> str:
    if os.path.isfile(program):
        return f"the interpreter that the first line of {program} names was not found"
    if os.sep in program:
        return f"{program} was not found"
    return f"{program} was not found in PATH={environment.get('PATH', '')}"


def _give_up(message: str, code: int) -> None:
    os.write(2, f"dure: {message}\n".encode(errors="replace"))
    os._exit(code)


def _restore_signals() -> None:
    """Python ignores some signals, and the shim blocks others; a job starts with none of that."""
    for number in signal.valid_signals():
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
