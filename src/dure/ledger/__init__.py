"""The truth: an append-only log of what happened, provable to people who do not trust its keeper.

Entries form an RFC 6962 Merkle tree (`merkle`) whose size and root are signed as C2SP checkpoints (`note`). `memory`
holds a log for the twin, `sqlite` a durable one for a live platform; both keep the promises in `contract`. `verify`
recomputes everything from the entries.
"""
