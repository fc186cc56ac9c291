"""decide(world, now) -> plan: who starts, who yields, who waits and why.

The same compiled functions decide live and in the twin. No clock, dice, disk or wire.
"""
