"""Outside data becomes values: traces of real clusters, descriptions of fleets, and a generator where data is missing.

This room may read files, and it may throw dice (`dure.sources.streams`). What it returns are plain values that the twin
runs on: a `Trace` (one row per job) and a `TwinFleet` (groups of equal nodes). `docs/reference/traces.md` describes the
formats, the generator and where each of its numbers comes from.
"""
