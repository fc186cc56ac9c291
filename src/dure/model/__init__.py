"""The nouns everyone shares: fleet, organisations, shares, datasets, jobs, events, plan and their units.

Plain immutable values. Nothing here reads a clock, a file or a socket, and nothing here decides anything.
"""
