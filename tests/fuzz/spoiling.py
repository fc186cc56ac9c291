"""Ways to spoil documents: text that is no longer quite what it was, and values where others belong."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("DURE_FUZZ_EXAMPLES", "120"))
"""How often each test tries. Thousands are for a night, not for every change."""

LONGEST_S = 10
"""Nothing that is read takes nearly so long; what does goes on for ever."""

NASTY_TEXTS = (
    # Characters that are not what they seem, or end something.
    *("\0", "\ufeff", "\u202e", "\u2028", "\r", "\t", "\x1b[2J", "\U0001f4a5", "한글", "'", '"', "\\", "#", "%", "`"),
    # What YAML makes more of than people expect.
    *(
        "&a ",
        "*a",
        "!!python/name:os.system ",
        "<<: *a\n",
        "---\n",
        "...\n",
        "? ",
        "|\n",
        ">\n",
        "=",
        ",",
        ":",
        ": ",
        ";",
    ),
    # Depth and length.
    *("[" * 3_000, "{a: " * 500, "- " * 2_000, "9" * 5_000, "a" * 70_000),
    # Numbers that are none, or too large for most who read them.
    *("1e400", "-1e400", "NaN", "inf", "-0", "0x7f", "1_000", "0.1e-400", "99999999999999999999"),
    *("null", "~", "true", "no", "$("),
    *(
        "#SBATCH --array=0-99999999999\n",
        "#SBATCH --gres=gpu:\n",
        "#SBATCH hetjob\n",
        "#SBATCH --time=99999999-99:99:99\n",
    ),
)

NASTY_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 2**200, 0.5, -0.0, 1e308, 1e-308),
    *("", " ", "\0", "\ud7ff", "a" * 5_000, "99999999999999999999", "1e400", "NaN", "0.0000001", "-1", "*", "../.."),
    *("H100:", ":8", "H100:999999999999", "H100:-1", "H100:0.5", "H100:7g.80gb", "0-99999999999", "9-0", "j1"),
    *("4h4h", "99999999999d", "0s", "2027-13-45T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59"),
    *([], {}, [[]], {"": ""}, [None], {"a": {"b": {"c": []}}}),
    ["x"] * 2_000,
    {str(number): number for number in range(2_000)},
)


@st.composite
def spoilt_texts(draw: st.DrawFn, samples: Sequence[str]) -> str:
    """A text with a few cuts, copies and insertions; or noise."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=300))
    text = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 4))):
        at, until = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:at] + text[until:]
            case 1:
                text = text[:until] + text[at:]
            case 2:
                text = text[:at] + draw(st.sampled_from(NASTY_TEXTS)) + text[until:]
            case _:
                text = text[:at] + draw(st.sampled_from(NASTY_TEXTS)) + text[at:]
    return text


def spoilt_bytes(samples: Sequence[str]) -> st.SearchStrategy[bytes]:
    """The same as bytes, with bytes in them that are no text."""
    texts = spoilt_texts(samples).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.one_of(texts, st.binary(max_size=300), st.tuples(texts, st.binary(max_size=4)).map(_with_middle))


def _with_middle(parts: tuple[bytes, bytes]) -> bytes:
    text, noise = parts
    return text[: len(text) // 2] + noise + text[len(text) // 2 :]


@st.composite
def spoilt_documents(draw: st.DrawFn, samples: Sequence[Any]) -> Any:
    """A document with a few values replaced by others, left out, or beside fields that nobody knows."""
    document = _copy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(document))
        if not places:
            return _copy(draw(st.sampled_from(NASTY_VALUES)))
        holder, key = draw(st.sampled_from(places))
        match draw(st.integers(0, 4)):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1:
                other, other_key = draw(st.sampled_from(places))
                holder[key] = _copy(other[other_key])
            case 2 if isinstance(holder, dict):
                holder[draw(st.sampled_from(["", "x", "GPUs", "name", "\0"]))] = _copy(
                    draw(st.sampled_from(NASTY_VALUES))
                )
            case _:
                holder[key] = _copy(draw(st.sampled_from(NASTY_VALUES)))
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document where a value stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items)[:50]:
        yield value, key
        yield from _places(inner)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


@contextmanager
def no_hang(what: Callable[[], str]) -> Iterator[None]:
    """Fail when what is inside goes on for ever."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it took longer than {LONGEST_S} s to read {what()[:500]!r}")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
