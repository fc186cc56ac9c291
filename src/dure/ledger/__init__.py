"""The truth: an append-only log of what happened, provable to people who do not trust its keeper.

Entries form an RFC 6962 Merkle tree (`merkle`) whose size and root are signed as C2SP checkpoints (`note`). `memory`
holds a log for the twin; `sqlite` and `postgres` hold durable ones for a live platform. All keep the promises in
`contract`. `leadership` says which of several servers on one database may append, `verify` recomputes everything from
the entries, and `backup` carries a whole ledger from one storage to another.
"""
