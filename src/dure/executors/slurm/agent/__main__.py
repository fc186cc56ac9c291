"""Starts an agent: `python -I -S FOLDER_OF_THE_AGENT lead|node FOLDER_OF_THE_ATTEMPT ...`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from dure.executors.slurm.agent.lead import lead
    from dure.executors.slurm.agent.node import node

    what, folder, *rest = sys.argv[1:]
    sys.exit(lead(folder) if what == "lead" else node(folder, *rest))
