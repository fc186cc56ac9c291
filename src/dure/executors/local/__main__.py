"""Starts a supervisor: `python -I -S __main__.py FOLDER`. Run as a file, so that nothing else is imported first."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))
    from dure.executors.local.supervisor import main

    sys.exit(main(sys.argv[1]))
