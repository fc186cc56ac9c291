"""How large what we read may be: far above any real cluster, low enough that a misplaced column is noticed.

The largest job's GPU time, in thousandths of a GPU times milliseconds, must fit 63 bits.
"""

from __future__ import annotations

LONGEST_RUN_S = 2 * 366 * 86_400
LONGEST_TRACE_S = 20 * 366 * 86_400
MOST_GPUS_PER_JOB = 100_000
MOST_CPUS_MILLI = 10_000_000
MOST_MEMORY_MIB = 1 << 30
MOST_NODES = 1_000_000
MOST_JOBS = 20_000_000
