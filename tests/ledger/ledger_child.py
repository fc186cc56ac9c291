"""Another process that uses a ledger: run as `ledger_child.py DEED PATH-OR-URL [ARGUMENT]`, prints what came of it."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from dure.ledger.contract import Ledger, LedgerError
from dure.ledger.postgres import PostgresLedger
from dure.ledger.sqlite import SqliteLedger
from dure.ledger.verify import verify
from tests.ledger.ledger_samples import NOON_MS, SIGNER, entries, entry, row


def say(text: str) -> None:
    print(text, flush=True)


def open_it(path: Path) -> None:
    ledger = SqliteLedger.open(path, SIGNER)
    say(f"opened with {ledger.size} entries")
    ledger.close()


def append_some(path: Path, count: int) -> None:
    ledger = SqliteLedger.open(path, SIGNER)
    ledger.append(ledger.size, entries(ledger.size, ledger.size + count), [], NOON_MS)
    say(f"appended {count} entries")
    ledger.close()


def append_forever(ledger: Ledger) -> None:
    """Batches of growing size; what is printed was durable before."""
    say(f"opened {ledger.size}")
    count = 1
    while True:
        start = ledger.size
        batch = entries(start, start + count)
        rows = [row(f"job-{number}", f"written at {start}") for number in range(start, start + count)]
        ledger.append(start, batch, rows, NOON_MS + start)
        say(f"acknowledged {ledger.size}")
        count = count % 40 + 3


def hold(path: Path) -> None:
    SqliteLedger.open(path, SIGNER)
    say("holding")
    signal.pause()


def leave_a_child_behind(path: Path) -> None:
    """The parent dies with the ledger open; a forked child that has every descriptor lives on for a while."""
    SqliteLedger.open(path, SIGNER)
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        signal.alarm(20)
        signal.pause()
    say(str(child))
    os._exit(0)


def fill_the_disk(path: Path) -> None:
    """No file may grow beyond a limit: to the program, writing more fails as it does on a full disk."""
    ledger = SqliteLedger.open(path, SIGNER)
    ledger.append(0, [entry(0), entry(1)], [], NOON_MS)
    limit = max(each.stat().st_size for each in path.parent.iterdir()) + 20_000
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        ledger.append(2, entries(2, 9_000), [row("job-1", "queued")], NOON_MS)
    except LedgerError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        say(f"{type(error).__name__}: {error}")
    ledger.append(2, [entry(2)], [], NOON_MS)
    with ledger.stored() as log:
        is_sound = verify(log, SIGNER.verifier).is_sound
    say(f"usable again: {ledger.size} entries, job-1 is {ledger.row('jobs', 'job-1')!r}, sound {is_sound}")
    ledger.close()


def main() -> None:
    deed, path = sys.argv[1], Path(sys.argv[2])
    try:
        match deed:
            case "open":
                open_it(path)
            case "append":
                append_some(path, int(sys.argv[3]))
            case "append-forever":
                append_forever(SqliteLedger.open(path, SIGNER))
            case "append-forever-to-database":
                append_forever(PostgresLedger.open(sys.argv[2], SIGNER))
            case "hold":
                hold(path)
            case "leave-a-child-behind":
                leave_a_child_behind(path)
            case "fill-the-disk":
                fill_the_disk(path)
            case _:
                sys.exit(f"unknown deed {deed}")
    except LedgerError as error:
        say(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
