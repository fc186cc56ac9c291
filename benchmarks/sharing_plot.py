"""The plot of `benchmarks.sharing`: how long jobs wait, by the number of GPUs, shared and alone.

Plain SVG, because that is all it takes. It carries its own background and colours for light and for dark, so that it
can be read wherever a page puts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.sharing import Outcome

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 72, 728, 68, 384
HEADLINE_GPUS = 1_024
WAITS_S = {"1 s": 1, "1 min": 60, "1 h": 3_600, "1 day": 86_400, "1 week": 604_800}
GPUS = (512, 768, 1_024, 1_536, 2_048, 2_560)
SHORTEST_S = 1.0
"""Less is drawn as this."""

_STYLE = """
  .ground { fill: #ffffff } .text { fill: #24292f } .quiet { fill: #57606a } .grid { stroke: #d8dee4 }
  .dure { stroke: #0550ae } .dure-text { fill: #0550ae } .silo { stroke: #bc4c00 } .silo-text { fill: #bc4c00 }
  .same { stroke: #24292f } .halo { stroke: #ffffff }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .text { fill: #e6edf3 } .quiet { fill: #9198a1 } .grid { stroke: #30363d }
    .dure { stroke: #79c0ff } .dure-text { fill: #79c0ff } .silo { stroke: #ffa657 } .silo-text { fill: #ffa657 }
    .same { stroke: #e6edf3 } .halo { stroke: #0d1117 }
  }
  text { font: 13px system-ui, sans-serif } .title { font-size: 16px; font-weight: 600 }
  .curve { fill: none; stroke-width: 2.5; stroke-linejoin: round } .p99 { stroke-dasharray: 6 4; stroke-width: 1.8 }
  .same { stroke-width: 1.5 } .halo { paint-order: stroke; stroke-width: 5px; stroke-linejoin: round }
"""


class Scale(NamedTuple):
    """A logarithmic axis: `low` is drawn at pixel `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return round(self.start + (self.end - self.start) * log(value / self.low) / log(self.high / self.low), 1)


ACROSS = Scale(448, 2_560, LEFT, RIGHT)
DOWN = Scale(6_000_000, SHORTEST_S, TOP, BOTTOM)


def drawn(outcomes: Sequence[Outcome]) -> str:
    """The plot as a document of its own."""
    description = f"{_same_wait(outcomes)}. Solid lines are mean waits, dashed ones the 99th percentile."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>Wait by number of GPUs, shared and alone</title><desc>{description}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        _text(16, 28, _same_wait(outcomes), "title text"),
        _text(16, 48, "Time from submission to start; solid: mean, dashed: 99th percentile", "quiet"),
        *_grid(),
        *_curves(outcomes),
        *_arrow(outcomes),
        "</svg>\n",
    ]
    return "\n".join(parts)


def fewest_gpus(outcomes: Sequence[Outcome], wait_s: Callable[[Outcome], float]) -> int:
    """The smallest shared fleet on which jobs wait no longer than on the headline's fleet in silos."""
    enough_s = wait_s(_of(outcomes, "silo", HEADLINE_GPUS))
    return min(run.gpus for run in outcomes if run.policy == "dure" and wait_s(run) <= enough_s)


def _same_wait(outcomes: Sequence[Outcome]) -> str:
    shared = fewest_gpus(outcomes, lambda run: run.avg_wait_s)
    return f"Philly's 15 owners wait no longer on {shared:,} shared GPUs than on {HEADLINE_GPUS:,} in silos"


def _of(outcomes: Sequence[Outcome], policy: str, gpus: int) -> Outcome:
    return next(run for run in outcomes if (run.policy, run.gpus) == (policy, gpus))


def _text(x: float, y: float, words: str, classes: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{classes}" text-anchor="{anchor}">{words}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{classes}"/>'


def _grid() -> Iterator[str]:
    for words, wait_s in WAITS_S.items():
        y = DOWN.at(wait_s)
        yield _line(LEFT, y, RIGHT, y, "grid")
        yield _text(LEFT - 8, y + 4, words, "quiet", "end")
    for gpus in GPUS:
        x = ACROSS.at(gpus)
        yield _line(x, BOTTOM, x, BOTTOM + 5, "grid")
        yield _text(x, BOTTOM + 22, f"{gpus:,}", "quiet", "middle")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 44, "GPUs of the whole fleet", "quiet", "middle")


def _curves(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for policy, name in (("silo", "each owner alone"), ("dure", "shared by Dure")):
        runs = [run for run in outcomes if run.policy == policy and run.gpus >= ACROSS.low]
        yield _curve([(run.gpus, run.p99_wait_s) for run in runs], f"curve p99 {policy}")
        yield _curve([(run.gpus, run.avg_wait_s) for run in runs], f"curve {policy}")
        last = next((run for run in runs if run.avg_wait_s < SHORTEST_S), runs[-1])
        x, y = ACROSS.at(last.gpus), DOWN.at(max(SHORTEST_S, last.avg_wait_s))
        if x < RIGHT - 120:
            yield _text(x + 10, y - 12, name, f"{policy}-text")
        else:
            yield _text(x, y + 22, name, f"{policy}-text", "end")


def _curve(points: Sequence[tuple[int, float]], classes: str) -> str:
    """A line through the points, up to the first at which nobody waits."""
    reached = next((index for index, (_, wait_s) in enumerate(points) if wait_s < SHORTEST_S), len(points))
    kept = points[: reached + 1]
    path = " ".join(f"{ACROSS.at(gpus)},{DOWN.at(max(SHORTEST_S, wait_s))}" for gpus, wait_s in kept)
    return f'<polyline points="{path}" class="{classes}"/>'


def _arrow(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """From the silos' fleet to the shared one on which jobs wait as long."""
    alone = _of(outcomes, "silo", HEADLINE_GPUS)
    gpus = fewest_gpus(outcomes, lambda run: run.avg_wait_s)
    start, end, y = ACROSS.at(HEADLINE_GPUS), ACROSS.at(gpus), DOWN.at(alone.avg_wait_s)
    yield _line(start, y, end + 4, y, "same")
    yield f'<path d="M {end + 10} {y - 4} L {end + 3} {y} L {end + 10} {y + 4}" class="same" fill="none"/>'
    fewer = f"{1 - gpus / HEADLINE_GPUS:.0%} fewer GPUs"
    yield _text(round((start + 2 * end) / 3, 1), y - 7, fewer, "text halo", "middle")
