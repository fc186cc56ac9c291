"""Starts an agent: `python FOLDER_OF_THE_AGENT lead|node FOLDER_OF_THE_ATTEMPT ...`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from dure.executors.ray.agent.lead import lead
    from dure.executors.ray.agent.node import node

    what, folder, *rest = sys.argv[1:]
    sys.exit(lead(folder) if what == "lead" else node(folder, *rest))
