"""How the two shares of a secret make it whole again."""

from __future__ import annotations

VARIABLE = "DURE_SECRET_SHARE"
"""The variable of the engine's job with one of the shares, in hexadecimal."""


def combine(one: bytes, other: bytes) -> bytes:
    """Bit by bit exclusive or, as long as the first; both ways."""
    return bytes(left ^ right for left, right in zip(one, other, strict=False))
