"""One rank between fork and exec: it waits for the gate, puts on its own clothes, and becomes the job's program."""

from __future__ import annotations

import errno
import os
import signal
import time

from dure.executors.local.order import Order

NOT_FOUND = 127
NOT_RUNNABLE = 126
"""Exit codes for a program that cannot be run, as every shell gives them."""
_NEVER_RELEASED = 125


def become(order: Order, rank: int, environment: dict[str, str], gate: int, log: int, file_mode_mask: int) -> None:
    """Turn this forked process into the rank's program. Never returns.

    Nothing of the job runs before the gate gives a byte; if the gate closes instead, nothing ever will.
    """
    os.setsid()
    if not os.read(gate, 1):
        os._exit(_NEVER_RELEASED)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.umask(file_mode_mask)
    _restore_signals()
    try:
        os.chdir(order.workdir)
    except OSError as error:
        _give_up(f"cannot enter the working folder {order.workdir}: {error.strerror}", NOT_RUNNABLE)
    _execute(order.argv, environment)


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
