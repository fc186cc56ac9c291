"""Names in the shared work folder, besides those that the local engine's attempts have too."""

from __future__ import annotations

import os

from dure.executors.local import records

NEWS = "news"
"""A folder of empty files, named after attempts that should be looked at."""
ORDER = "order"
SUBMITTED = "submitted"
SECRETS = "secrets"
NODE = "node"
"""Where a rank runs, by the engine's name."""
OUTPUT = "engine.log"
"""What the agents themselves and the engine have to say."""
LOST_EXIT_CODE = -9
"""What a rank counts as whose end nobody recorded: its node or its agent was killed."""


def rank_folder(folder: str, rank: int) -> str:
    """Where a rank's records, orders and output lie."""
    return os.path.join(folder, f"rank{rank}")


def tell(folder: str) -> None:
    """Say that the attempt of this folder should be looked at. It may get lost: the files are the truth."""
    attempts, attempt_id = os.path.split(folder)
    path = os.path.join(os.path.dirname(attempts), NEWS, attempt_id)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        return


def has_order_to_stop(folder: str) -> bool:
    """True once somebody wants the attempt gone."""
    return records.exists(folder, records.STOP)


def exit_status(code: int) -> int:
    """An exit code as a process of its own can end with it, the way shells do for signals."""
    return code if code >= 0 else 128 - code
