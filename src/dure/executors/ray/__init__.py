"""Runs jobs on a Ray cluster: one Ray job per attempt, asked for over Ray's Jobs API.

Ray keeps what it knows of jobs in the memory of its head node, and cannot be told to stop a job with a grace or to warn
it. So the truth about an attempt, and all orders to it, are files of a **work folder** that the server and the nodes
share, as with Slurm (`dure.executors.slurm` says which, and why an attempt runs at most once).

The entrypoint of each Ray job is a small program, the **agent** (`agent/`). As `lead` it takes the claim. For one
rank it starts the rank's own agent beside itself, with the GPUs that Ray gave the job, and needs nothing of Ray for it.
For a gang it has Ray reserve a placement group, and runs each rank's agent in a task of it. A rank's agent is the same
shim that the local engine has. It lives on a pipe from whoever started it: when Ray takes that away, the rank is ended.

Ray never refuses what can never run, it lets it wait for ever: so what is asked for is first held against what the
cluster has (`feasibility`). Ray knows no tenants either: whoever may talk to a cluster may do everything there. So a
cluster belongs to one trust domain, and jobs of anybody else are refused (`submission`).

Import `RayExecutor` from `dure.executors.ray.executor`.
"""
