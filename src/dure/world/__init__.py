"""The state to decide on.

Flat NumPy columns that the kernel reads and writes (`columns`), and the cards and names that people use for the same
things (`world`). `World.apply` is the only way in: every event of the ledger goes through it, live or replayed.
"""
