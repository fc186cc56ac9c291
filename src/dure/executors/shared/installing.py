"""Puts the agent into the work folder: the few files it is made of, in a folder named after what is in them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

_HOUSE = Path(__file__).parents[3]
"""The folder that `dure` is in."""
_MODULES = (
    *("dure/*.py", "dure/executors/*.py", "dure/executors/local/*.py"),
    *("dure/executors/*/__init__.py", "dure/executors/shared/agent/*.py"),
)


def install_agent(work_folder: str, agent: str) -> str:
    """The folder that a node's Python is given to run; made when it is not there. Raises `OSError`."""
    sources = {
        path.relative_to(_HOUSE): path.read_bytes()
        for pattern in (*_MODULES, f"{agent}/*.py")
        for path in sorted(_HOUSE.glob(pattern))
    }
    sources[Path("__main__.py")] = (_HOUSE / agent / "__main__.py").read_bytes()
    digest = hashlib.sha256(repr(sorted((str(name), body) for name, body in sources.items())).encode())
    folder = os.path.join(work_folder, f"agent-{digest.hexdigest()[:16]}")
    if not os.path.isdir(folder):
        _write(folder, sources)
    return folder


def _write(folder: str, sources: dict[Path, bytes]) -> None:
    draft = Path(f"{folder}.{os.getpid()}")
    for name, body in sources.items():
        target = draft / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(body)
    try:
        os.rename(draft, folder)
    except OSError:  # another server was faster
        shutil.rmtree(draft)
