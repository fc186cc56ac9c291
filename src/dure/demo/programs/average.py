"""Train one network on several nodes: every rank learns from its own images, and all average their gradients.

    python -m dure.demo.programs.average --steps 200

Rank 0 listens on MASTER_ADDR:MASTER_PORT, the others come to it. After the last step every rank tells rank 0 the digest
of its weights; the job has succeeded only if all are equal.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time

import numpy as np

from dure.demo.programs.digits import Weights, descend, digest, draw_batch, first_weights, gradients, judge

SEED = 11
BATCH = 128
PATIENCE_S = 30.0
"""How long a rank waits for the others before it gives up."""
_RETRY_S = 0.02


class Peer:
    """The connection to one other rank. Raises `OSError` or `EOFError` when that rank is gone."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection

    def send(self, body: bytes) -> None:
        """Send all of it."""
        self._connection.sendall(body)

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        parts: list[bytes] = []
        while size > 0:
            part = self._connection.recv(min(size, 1 << 20))
            if not part:
                raise EOFError("another rank closed its connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def meet(rank: int, ranks: int, address: tuple[str, int]) -> list[Peer]:
    """Connections to the ranks this one talks with: rank 0 with all, the others with rank 0."""
    if rank > 0:
        return [Peer(_connect(address))]
    with socket.create_server(address, backlog=ranks) as listener:
        listener.settimeout(PATIENCE_S)
        return [Peer(listener.accept()[0]) for _ in range(ranks - 1)]


def _connect(address: tuple[str, int]) -> socket.socket:
    """Rank 0 may not listen yet: try until it does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection(address, PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)


def average(slopes: Weights, rank: int, peers: list[Peer]) -> Weights:
    """The mean of every rank's gradients. Rank 0 adds them up in the order in which ranks came and sends the result."""
    own = np.concatenate([slope.ravel() for slope in slopes])
    if rank > 0:
        peers[0].send(own.tobytes())
        mean = np.frombuffer(peers[0].receive(own.nbytes), dtype=own.dtype)
    else:
        for peer in peers:
            own += np.frombuffer(peer.receive(own.nbytes), dtype=own.dtype)
        mean = own / own.dtype.type(1 + len(peers))
        for peer in peers:
            peer.send(mean.tobytes())
    edges = np.cumsum([slope.size for slope in slopes])[:-1]
    return [part.reshape(slope.shape) for part, slope in zip(np.split(mean, edges), slopes, strict=True)]


def agree(weights: Weights, rank: int, peers: list[Peer]) -> bool:
    """True when all ranks have ended with the same weights, to the last bit."""
    own = digest(weights).encode()
    if rank > 0:
        peers[0].send(own)
        return peers[0].receive(1) == b"="
    equal = all([peer.receive(len(own)) == own for peer in peers])
    for peer in peers:
        peer.send(b"=" if equal else b"!")
    return equal


def main() -> int:
    """Run as one rank of a job."""
    parser = argparse.ArgumentParser(description="Train one network on several nodes.")
    parser.add_argument("--steps", type=int, required=True)
    steps = parser.parse_args().steps
    rank, ranks = int(os.environ["NODE_RANK"]), int(os.environ["NNODES"])
    try:
        return train(rank, ranks, (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), steps)
    except (OSError, EOFError) as error:
        say(f"rank {rank} lost the others: {error}")
        return 1


def train(rank: int, ranks: int, address: tuple[str, int], steps: int) -> int:
    """Take part in the training of all ranks. Returns the exit code."""
    peers = meet(rank, ranks, address)
    say(f"rank {rank} of {ranks} met the others")
    weights = first_weights(SEED)
    for step in range(steps):
        descend(weights, average(gradients(weights, draw_batch(SEED, step, rank, BATCH)), rank, peers))
    if not agree(weights, rank, peers):
        say(f"rank {rank}: the weights of the ranks differ")
        return 1
    loss, accuracy = judge(weights, SEED)
    say(f"rank {rank} finished: {steps} steps, loss {loss:.6f}, {accuracy:.1%} correct, weights {digest(weights)}")
    return 0


def say(text: str) -> None:
    """Write a line at once: somebody may be watching."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
