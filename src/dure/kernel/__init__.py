"""decide(world, now) -> plan: who starts, who yields, who waits and why.

The same compiled functions decide live and in the twin. No clock, dice, disk or wire.
"""

from dure.kernel.deciding import decide, warm_up
from dure.kernel.explaining import explain, explain_all

__all__ = ["decide", "explain", "explain_all", "warm_up"]
