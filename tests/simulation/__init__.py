"""The whole platform under one seeded scheduler: a deterministic simulation of everything around the loop.

What runs here is the real code: intake, `Control`, `Loop`, `Engines`, recovery, and the SQLite ledger on a real file.
What is simulated is what they stand on, and it keeps to its contract and no more:

- `scheduler`: simulated time. Everything that happens is an event in one heap; nothing waits, nothing runs in parallel.
- `event_loop`: an asyncio event loop on that time. Work for threads is done at a moment that the scheduler chooses, and
  the answer comes back later, or never.
- `disk`: the ledger's file. A crash keeps what was synced; a write may fail, fill the disk, or lose its answer.
- `engine`: sites that run jobs. They delay, repeat, refuse, lose nodes and contact, and have clocks of their own.
- `server`: the lives of the platform on one ledger, each of which may be killed at any moment.
- `people`: members and operators, who ask, lose the answer and ask again.
- `faults`: what goes wrong, when, and how often; each seed has some kinds of faults and not others.
- `invariants`: what must hold after every step, judged by code that shares nothing with what it judges.

One number decides all of it. `python -m tests.simulation SEED` plays it again and tells every event.
"""
