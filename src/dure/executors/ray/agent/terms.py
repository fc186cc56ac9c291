"""What the server and the agents of a Ray job tell each other in the attempt's folder, besides what Slurm's do too."""

from __future__ import annotations

TERMS = "terms"
"""What each rank is given (`bundles`), whether they are spread (`spread`), and what they may take (`limits`)."""
MASTER = "master"
"""Where rank 0 is: `address` and `port`."""
