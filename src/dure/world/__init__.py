"""The state to decide on, in two forms that always agree.

Flat arrays of integers for the compiled kernel (`columns`, and the functions on them), and cards for people that name
things (`state`). `World.apply` is the only way in: every event of the ledger goes through it, live or replayed. What
follows from an event that needs more than a few lines has a file of its own: `declaring`, `enacting`, `endings` and
`fleet_changes`. `questions` has all that may be asked.
"""
