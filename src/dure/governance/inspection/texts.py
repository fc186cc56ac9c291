"""What one result says by itself: credentials, numbers of persons, and whether its content can be judged at all.

The patterns are our own: the one library for it in wide use had its last release in May 2024, brings an HTTP client
along, and asks some of what it finds at the services concerned, which an airlock must never do.
"""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

OVERLAP_BYTES = 512
"""How much of the end of a piece is looked at again with the next one: more than the longest credential."""

_CREDENTIALS = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
    rb"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    rb"|\bgh[pousr]_[A-Za-z0-9]{36,}"
    rb"|\bgithub_pat_[A-Za-z0-9_]{22,}"
    rb"|\bglpat-[A-Za-z0-9_-]{20,}"
    rb"|\bhf_[A-Za-z0-9]{30,}"
    rb"|\bxox[abposr]-[A-Za-z0-9-]{10,}"
    rb"|\bAIza[A-Za-z0-9_-]{35}"
    rb"|\bsk-[A-Za-z0-9_-]{32,}"
    rb"|\bdure_[A-Za-z0-9_-]{20,}"
    rb"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
)
_ASSIGNED = re.compile(
    rb"(?i)\b(?:password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token)\b[\"']?\s*[:=]\s*[\"']?([^\s\"',;]{8,})"
)
_LEAST_ENTROPY_OF_PASSWORD = 3.0
"""Bits per character: below are words and placeholders."""

# A date of birth, a hyphen or none, and seven digits of which the first says century, sex and nationality.
_RESIDENT_NUMBER = re.compile(
    rb"(?<![0-9A-Za-z-])[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])-[1-8][0-9]{6}(?![0-9A-Za-z-])"
)

_LEAST_BYTES_JUDGED = 4096
MOST_ENTROPY = 7.9
"""Bits per byte. Compressed and encrypted content is above 7.99; floating-point weights are mostly below 7.9."""
MOST_ENTROPY_OF_TEXT = 5.6
"""Text in any script and tables are below; Base64 is at 6."""


class TextCheck:
    """Takes in the pieces of one result, in order."""

    def __init__(self) -> None:
        self.credentials = 0
        self.personal_numbers = 0
        self._bytes = np.zeros(256, dtype=np.int64)
        self._end = b""

    def take(self, piece: bytes) -> None:
        """Look at the next piece, and again at where it joins the one before."""
        self._bytes += np.bincount(np.frombuffer(piece, dtype=np.uint8), minlength=256)
        text = self._end + piece
        before = len(self._end)
        self.credentials += _after(_CREDENTIALS, text, before)
        self.credentials += sum(
            _entropy(Counter(found[1])) >= _LEAST_ENTROPY_OF_PASSWORD
            for found in _ASSIGNED.finditer(text)
            if found.end() > before
        )
        self.personal_numbers += _after(_RESIDENT_NUMBER, text, before)
        self._end = text[-OVERLAP_BYTES:]

    @property
    def entropy_bits(self) -> float:
        """Of a byte, 0 to 8, if bytes came independently of each other."""
        return _entropy(Counter({value: int(count) for value, count in enumerate(self._bytes) if count}))

    def hides_its_content(self, *, is_text: bool) -> bool:
        """True when it looks compressed, encrypted or encoded, so that no copy in it would be seen."""
        if int(self._bytes.sum()) < _LEAST_BYTES_JUDGED:
            return False
        return self.entropy_bits > (MOST_ENTROPY_OF_TEXT if is_text else MOST_ENTROPY)


def _after(pattern: re.Pattern[bytes], text: bytes, before: int) -> int:
    """Matches that end in the new part of the text."""
    return sum(found.end() > before for found in pattern.finditer(text))


def _entropy(counts: Counter[int]) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values()) if total else 0.0
