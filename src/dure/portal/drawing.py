"""What the templates draw: bars, GPU cells and colours, worked out here so that templates only place them.

Lengths are in percent of a bar and become attributes of SVG elements; the content security policy allows no style
attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from dure.model.mig import MEMORY_SLICES
from dure.model.nation import Nation
from dure.model.units import WHOLE_GPU_MILLI, format_gpus
from dure.reports.fleet import Cell, NodeCells, SiteLine
from dure.reports.shares import ShareLine

COLOURS = 12


class Segment(Struct, frozen=True):
    """One stretch of a bar, from `start` for `length` percent; `kind` is its class in the style sheet."""

    kind: str
    start: float
    length: float


class ShareBar(Struct, frozen=True):
    """A share's bar. `marker` is where its guarantee ends; None when nothing is guaranteed."""

    line: ShareLine
    segments: tuple[Segment, ...]
    marker: float | None


class Owner(Struct, frozen=True):
    """How an organisation is shown: a colour, a monogram, and its name."""

    name: str
    title: str
    colour: str
    monogram: str


class Owners:
    """Every organisation's colour and monogram, given by its place in the nation's document."""

    def __init__(self, nation: Nation, language: str) -> None:
        self._by_name: dict[str, Owner] = {}
        taken: Counter[str] = Counter()
        for index, organisation in enumerate(nation.organisations):
            title = organisation.title_ko if language == "ko" else organisation.title_en
            self._by_name[organisation.name] = Owner(
                name=organisation.name,
                title=title or organisation.name,
                colour=f"owner-{index % COLOURS}",
                monogram=_monogram(organisation.name, taken),
            )

    def __getitem__(self, name: str) -> Owner:
        """The owner by name; a plain grey one for an organisation that has left."""
        return self._by_name.get(name) or Owner(name=name, title=name, colour="owner-none", monogram=name[:1].upper())

    def title(self, name: str) -> str:
        """What an organisation is called; anything else keeps its own name."""
        return self[name].title


def site_titles(nation: Nation, language: str) -> Callable[[str], str]:
    """What sites are called in a language; one without a title, or that has left, keeps its name."""
    titles = {site.name: site.title_ko if language == "ko" else site.title_en for site in nation.sites}
    return lambda name: titles.get(name) or name


class NodeUse(Struct, frozen=True):
    """One job's part of a node, in words."""

    job: str
    organisation: str
    gpus: str
    state: str


def share_bars(lines: tuple[ShareLine, ...]) -> list[ShareBar]:
    """One bar per share. The shares of one class are drawn to one scale, so that their lengths compare.

    A share without siblings at the top stands for the whole; it is drawn full and leaves the scale to the others.
    """
    tops = Counter(line.gpu_class for line in lines if line.depth == 0)
    scales: dict[tuple[str, bool], int] = {}
    for line in lines:
        reach = max(line.guarantee_milli + line.borrowed_milli, line.used_milli, 1)
        scale = _scale_of(line, tops)
        scales[scale] = max(scales.get(scale, 1), reach)
    return [_share_bar(line, scales[_scale_of(line, tops)]) for line in lines]


def _scale_of(line: ShareLine, tops: Counter[str]) -> tuple[str, bool]:
    return (line.gpu_class, line.depth == 0 and tops[line.gpu_class] == 1)


def site_segments(site: SiteLine, owners: Owners) -> list[Segment]:
    """Who uses a site, as stretches of one bar."""
    segments = []
    start = 0.0
    for use in site.uses:
        length = _percent(use.used_milli, site.capacity_milli)
        segments.append(Segment(owners[use.organisation].colour, start, length))
        start += length
    return segments


def node_uses(node: NodeCells) -> list[NodeUse]:
    """What runs on a node, in words: the alternative to its row of colours."""
    held: dict[tuple[str, str, str, str], int] = {}
    for cell in node.cells:
        for part in cell.parts:
            held[(part.job, part.organisation, part.state, part.profile)] = part.milli
        if cell.used_milli and not cell.parts:
            key = (cell.jobs[0], cell.organisation, cell.state, "")
            held[key] = held.get(key, 0) + cell.used_milli
    return [
        NodeUse(job, owner, profile or format_gpus(milli), state)
        for (job, owner, state, profile), milli in held.items()
    ]


def part_segments(cell: Cell, owners: Owners) -> list[Segment]:
    """The parts of a GPU, as stretches of its cell: slices where they lie, others one after the other."""
    segments = []
    start = 0.0
    for part in cell.parts:
        length = _percent(part.milli, WHOLE_GPU_MILLI)
        start = _percent(part.slices[0], MEMORY_SLICES) if part.slices else start
        kind = f"{owners[part.organisation].colour} {part.state}{' borrowing' if part.borrowed else ''}"
        segments.append(Segment(kind, start, length))
        start += length
    return segments


def part_words(cell: Cell, owners: Owners) -> str:
    """Who has which part of a GPU, in words: what a pointer over its cell shows."""
    return ", ".join(
        f"{owners[part.organisation].title} {part.job} {part.profile or format_gpus(part.milli)}" for part in cell.parts
    )


def fill_class(cell: Cell) -> str:
    """Class for how full a partly used GPU is, in tenths; empty when it is whole or free."""
    tenths = round(cell.used_milli / 100)
    return f"fill-{max(1, tenths)}" if 0 < tenths < 10 else ""


def _share_bar(line: ShareLine, scale: int) -> ShareBar:
    """Within the guarantee: own use, idle, lent. Beyond the marker: borrowed."""
    own = line.used_milli - line.borrowed_milli
    lent_from = max(own, line.guarantee_milli - line.lent_milli)
    lent = max(0, line.guarantee_milli - lent_from)
    stretches = (
        ("own", 0, own),
        ("idle", own, max(0, lent_from - own)),
        ("lent", lent_from, lent),
        ("borrowed", max(own, line.guarantee_milli), line.borrowed_milli),
    )
    segments = tuple(
        Segment(kind, _percent(start, scale), _percent(length, scale))
        for kind, start, length in stretches
        if length > 0
    )
    marker = _percent(line.guarantee_milli, scale) if line.guarantee_milli else None
    return ShareBar(line, segments, marker)


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _monogram(name: str, taken: Counter[str]) -> str:
    """Two letters that no other organisation has, if there are any: initials, else the first letters."""
    words = [word for word in name.replace("_", "-").split("-") if word]
    letters = "".join(word[0] for word in words[:2]) if len(words) > 1 else name[:2]
    candidates = [letters, *(name[0] + letter for letter in name[1:] if letter.isalnum())] if name else ["?"]
    chosen = next((each for each in (c.upper() for c in candidates) if not taken[each]), letters.upper())
    taken[chosen] += 1
    return chosen
