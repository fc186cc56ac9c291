"""The loop: requests and observations in, one durable append, then orders to engines and answers to people.

`control` is the edge of the core: it alone joins a clock, a ledger and executors, and it knows them only by the
Protocols in `ports`. The twin gives it simulated ones.
"""
