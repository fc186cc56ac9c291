"""The story's server process: `dure up` in a folder of its own, that ends with whoever started it.

It says on standard output, as one line of JSON, where it serves. Its standard input is a pipe from the story: when that
closes, because the story is over or its process was killed, the server stops its jobs and itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import msgspec

from dure.bootstrap import Ready, serve


def main() -> int:
    """Serve until standard input closes."""
    threading.Thread(target=_end_with_the_story, name="story", daemon=True).start()
    return serve(Path(sys.argv[1]), "127.0.0.1", 0, kill_jobs_at_end=True, on_ready=_say_ready)


def _end_with_the_story() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _say_ready(ready: Ready) -> None:
    sys.stdout.write(msgspec.json.encode(ready, enc_hook=str).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
