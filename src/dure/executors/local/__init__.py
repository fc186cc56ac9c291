"""Runs jobs as processes of this machine, so that neither they nor the truth about them depend on the server.

Four kinds of process take part. The **server** holds a `LocalExecutor`. It gives orders over a Unix socket to the
**supervisor**, a small process of its own session that does nothing but fork one **shim** per attempt (forking from a
small process takes a millisecond; from a server with a million jobs it takes many). The shim forks one **rank** per
placement, stays their parent until the last descendant is gone, and leaves what happened in files:

    claim    a shim has taken this attempt; created once, never replaced
    start    the ranks' process numbers and start times; durable before any rank runs its first instruction
    exit     every process is gone, and how the ranks ended; durable before anybody is told

Any of the four may be killed at any moment. `fate` says what the files prove afterwards, and the rule is the same for
everybody: an attempt without `start` never ran, an attempt without `exit` is not over until its processes are proven
gone. The shim holds a file lock for as long as it lives, which tells a living shim from a dead one without trusting
process numbers.

A service manager must not kill the others with the server: under systemd, set `KillMode=process`.

The output of ranks goes through the shim (`output`), which also sees to limits on time and disk (`guard`); the kernel
keeps those on memory and processes (`limits`). A sandboxed attempt is in a network of its own (`network`) and each of
its ranks is run by bubblewrap (`sandbox`); when it has ended, what it worked with is wiped (`folders`).

Modules that the supervisor loads (`folders`, `guard`, `limits`, `network`, `notices`, `order`, `output`, `processes`,
`rank`, `records`, `shim`, `supervisor`) import only a few modules of the standard library: every shim is a copy of that
memory. Import `LocalExecutor` from `dure.executors.local.executor`.
"""
