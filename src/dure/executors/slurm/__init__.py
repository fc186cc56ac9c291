"""Runs jobs on a Slurm cluster: one Slurm job per attempt, whatever Slurm or the network between does.

Slurm's controller may be slow, away, or forget; a submission may arrive although its answer was lost. So the truth
about an attempt is not in Slurm but in files of a **work folder** that the server and the nodes share:

    submitted    the server may have told Slurm of the attempt; durable before it does
    claim        the one Slurm job that may run the attempt, or the server, which gave it up; created once
    rankN/start  this rank's processes; durable before any of them runs its first instruction
    rankN/exit   this rank's processes are gone, and how they ended
    exit         all ranks are gone; durable before anybody is told

A Slurm job that does not get the claim ends without running anything, so an attempt runs at most once however often it
was submitted, and the server proves that an attempt never ran by taking the claim itself.

Each job is a small program, the **agent** (`agent/`, standard library only, copied into the work folder). On the job's
first node it leads: it takes the claim, starts one agent per node with `srun`, and records the end. On every node it is
the same shim that the local engine has: it runs one rank, obeys orders that lie in the rank's folder, and outlives the
last descendant. Orders are files, so a stop and its grace hold even while neither server nor controller can be reached;
`scancel --signal=URG` only makes agents look at once.

Slurm is asked with its commands (`commands`), once per poll for all jobs (`jobs`), and what it says is held against the
files (`executor`). Import `SlurmExecutor` from `dure.executors.slurm.executor`.
"""
