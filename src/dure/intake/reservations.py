"""Reservations in a nation file: read, written back, checked, and given their nodes when the file is applied.

Which nodes a reservation gets when it leaves the choice to the platform: those it had under its name, as far as they
still match and nobody else has them; then, of the first node group in the order of the file that has enough left by
itself, the highest-numbered; if none has, the highest-numbered of one group after another. So reservations sit where
jobs are placed last, and a gang finds them in one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from dure.intake.fields import GPU_CLASS, Entry, Problems, listing, matching, moment, name, one_or_more, whole_number
from dure.intake.refusals import Problem, Refusal, RefusalCode, did_you_mean
from dure.model.dates import format_moment
from dure.model.fleet import NodeGroup
from dure.model.nation import Nation
from dure.model.reservations import Reservation
from dure.world.cards import JobCard

MOST_RESERVATIONS = 10_000
MOST_NODES_NAMED = 100_000
MOST_NOTES = 20
_FIELDS = ("name", "for", "nodes", "site", "node_group", "gpu_class", "count", "from", "until")
_NARROWING = ("site", "node_group", "gpu_class", "count")


def read_reservations(problems: Problems, field: str, value: object) -> tuple[Reservation, ...]:
    """The `reservations` of a nation file."""
    return tuple(listing(problems, field, value, _reservation, MOST_RESERVATIONS))


def _reservation(problems: Problems, field: str, value: object) -> Reservation:
    entry = Entry(problems, field, value, _FIELDS)
    found = Reservation(
        name=entry.required("name", name, "give the reservation a name", ""),
        share=entry.optional("for", name, ""),
        nodes=entry.optional("nodes", _node_names, ()),
        site=entry.optional("site", name, ""),
        group=entry.optional("node_group", name, ""),
        gpu_class=entry.optional("gpu_class", _CLASS, ""),
        count=entry.optional("count", whole_number(1, MOST_NODES_NAMED), 0),
        from_ms=entry.required("from", moment, "add when it begins, like 2027-03-02T09:00:00+09:00", 0),
        until_ms=entry.required("until", moment, "add when it ends, like 2027-03-02T18:00:00+09:00", 1),
    )
    if isinstance(value, dict):
        _check_entry(problems, field, value, found)
    return found


def _check_entry(problems: Problems, field: str, value: dict[str, object], found: Reservation) -> None:
    if 1 < found.until_ms <= found.from_ms:
        problems.add(f"{field}.until", value.get("until"), "is not after from", "swap the two")
    narrowing = [each for each in _NARROWING if each in value]
    if "nodes" in value and narrowing:
        message = f"nodes are named, so {' and '.join(narrowing)} can say nothing more"
        problems.add_about_field(f"{field}.{narrowing[0]}", message, "remove it, or remove nodes")
    if "nodes" not in value and not narrowing:
        hint = "add nodes, or one or more of site, node_group, gpu_class and count"
        problems.add_about_field(field, "names no nodes", hint)


def _node_names(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    names = one_or_more(problems, field, value, name, MOST_NODES_NAMED)
    if not names:
        problems.add(field, value, "names no nodes", "add some, or remove the reservation")
    return names


_CLASS = matching(GPU_CLASS, "must be a GPU class, like H100")


def reservation_document(reservation: Reservation) -> dict[str, object]:
    """A reservation as it stands in a nation file: what was asked for, not which nodes it got."""
    written: dict[str, object] = {
        "name": reservation.name,
        "for": reservation.share,
        "nodes": list(reservation.nodes),
        "site": reservation.site,
        "node_group": reservation.group,
        "gpu_class": reservation.gpu_class,
        "count": reservation.count,
        "from": format_moment(reservation.from_ms),
        "until": format_moment(reservation.until_ms),
    }
    return {key: each for key, each in written.items() if each not in ("", [], 0)}


def reservation_facts(reservation: Reservation) -> dict[str, str]:
    """Each detail of a reservation as people read it in a difference."""
    return {
        "for": reservation.share,
        "from": format_moment(reservation.from_ms),
        "until": format_moment(reservation.until_ms),
        "nodes": some_of(reservation.chosen, 8),
    }


def some_of(names: Sequence[str], most: int) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def reservations_name_what_there_is(nation: Nation) -> Iterator[Problem]:
    """Shares, sites, node groups, classes and nodes of reservations are declared."""
    groups = [group for _, group in nation.node_groups()]
    known_nodes = {node for group in groups for node in group.node_names()} if nation.reservations else set()
    for index, each in enumerate(nation.reservations):
        field = f"reservations[{index}]"
        yield from _for_a_share(nation, f"{field}.for", each.share)
        yield from _known(f"{field}.site", each.site, [site.name for site in nation.sites], "site")
        yield from _known(f"{field}.node_group", each.group, [group.name for group in groups], "node group")
        yield from _known(f"{field}.gpu_class", each.gpu_class, [one.name for one in nation.gpu_classes], "GPU class")
        for node in each.nodes:
            if node and node not in known_nodes:
                hint = "`dure nodes` lists them; a node group says how many it has"
                yield Problem(field=f"{field}.nodes", value=node, message="there is no such node", hint=hint)


def _for_a_share(nation: Nation, field: str, share: str) -> Iterator[Problem]:
    names = [each.name for each in nation.shares]
    if not share or share in names:
        return
    owner = next((each for each in nation.organisations if share in (each.name, *each.projects)), None)
    taken_by = [found.name for project in (owner.projects if owner else ()) if (found := nation.share_of(project))]
    hint = f"its jobs run under {', '.join(dict.fromkeys(taken_by))}" if taken_by else did_you_mean(share, names)
    yield Problem(field=field, value=share, message="there is no such share", hint=hint)


def _known(field: str, wanted: str, known: Sequence[str], kind: str) -> Iterator[Problem]:
    if wanted and wanted not in known:
        hint = did_you_mean(wanted, known, f"declare it as a {kind}")
        yield Problem(field=field, value=wanted, message=f"there is no such {kind}", hint=hint)


def reservations_fit_the_fleet(nation: Nation) -> Iterator[Problem]:
    """There are as many nodes as each asks for, and no node is reserved twice at once."""
    if any(reservations_name_what_there_is(nation)):
        return
    _, problems = settled(nation, None)
    yield from problems


def settled(nation: Nation, before: Nation | None) -> tuple[Nation, list[Problem]]:
    """The nation with nodes chosen for its reservations, and a problem for each that gets too few.

    Those that leave no choice are served first, then those that have nodes already, each in the order of the file.
    """
    had = {each.name: each.chosen for each in before.reservations} if before else {}
    choosing = _Choosing(nation)
    turns = sorted(enumerate(nation.reservations), key=lambda turn: (turn[1].chooses, turn[1].name not in had))
    chosen = {index: choosing.nodes_for(index, each, had.get(each.name, ())) for index, each in turns}
    reservations = tuple(replace(each, chosen=chosen[index]) for index, each in enumerate(nation.reservations))
    return replace(nation, reservations=reservations), choosing.problems


class _Choosing:
    """The nodes of one nation while they are given to its reservations."""

    def __init__(self, nation: Nation) -> None:
        self.problems: list[Problem] = []
        self._groups = nation.node_groups() if nation.reservations else []
        self._order = {node: at for at, node in enumerate(n for _, group in self._groups for n in group.node_names())}
        self._taken: dict[str, list[Reservation]] = {}

    def nodes_for(self, index: int, reservation: Reservation, had: Sequence[str]) -> tuple[str, ...]:
        """The nodes of one reservation in placement order; what is wrong is added to the problems."""
        field = f"reservations[{index}]"
        groups = list(self._matching(reservation))
        matching = [node for group in groups for node in self._names(reservation, group)]
        if not matching or len(matching) < reservation.count:
            self._add(field, reservation, f"asks for {_asked(reservation)}, and {len(matching)} match")
            return ()
        if not reservation.chooses:
            nodes = matching
            self._refuse_taken(field, reservation, nodes)
        else:
            nodes = self._chosen(reservation, groups, had)
            if len(nodes) < reservation.count:
                message = f"asks for {_asked(reservation)}, and {len(nodes)} that match are free of reservations then"
                self._add(field, reservation, message)
        for node in nodes:
            self._taken.setdefault(node, []).append(reservation)
        return tuple(sorted(nodes, key=self._order.__getitem__))

    def _matching(self, reservation: Reservation) -> Iterator[NodeGroup]:
        for site, group in self._groups:
            at_site = reservation.site in ("", site.name)
            if at_site and reservation.group in ("", group.name) and reservation.gpu_class in ("", group.gpu_class):
                yield group

    def _names(self, reservation: Reservation, group: NodeGroup) -> list[str]:
        named = frozenset(reservation.nodes)
        return [each for each in group.node_names() if not named or each in named]

    def _is_free(self, node: str, reservation: Reservation) -> bool:
        return not self._who_has(node, reservation)

    def _who_has(self, node: str, reservation: Reservation) -> Reservation | None:
        others = self._taken.get(node, ())
        return next((each for each in others if each.overlaps(reservation.from_ms, reservation.until_ms)), None)

    def _refuse_taken(self, field: str, reservation: Reservation, nodes: Iterable[str]) -> None:
        for node in nodes:
            other = self._who_has(node, reservation)
            if other is not None:
                until = format_moment(other.until_ms)
                message = f"{node} is reserved for {other.name} from {format_moment(other.from_ms)} until {until}"
                self._add(field, reservation, message)
                return

    def _chosen(self, reservation: Reservation, groups: Sequence[NodeGroup], had: Sequence[str]) -> list[str]:
        free = [[node for node in group.node_names() if self._is_free(node, reservation)] for group in groups]
        all_free = {node for names in free for node in names}
        kept = [node for node in had if node in all_free][: reservation.count]
        wanted = reservation.count - len(kept)
        left = [[node for node in reversed(names) if node not in set(kept)] for names in free]
        alone = next((names for names in left if len(names) >= wanted), None)
        rest = alone if alone is not None else [node for names in left for node in names]
        return kept + rest[:wanted]

    def _add(self, field: str, reservation: Reservation, message: str) -> None:
        hint = "ask for fewer nodes, other nodes or another time"
        self.problems.append(Problem(field=field, value=reservation.name, message=message, hint=hint))


def _asked(reservation: Reservation) -> str:
    return "1 node" if reservation.count == 1 else f"{reservation.count or 'all'} nodes"


def settle_for_now(nation: Nation, before: Nation, now_ms: int) -> Nation | Refusal:
    """The nation with its reservations' nodes; or why they cannot be had now. One that was declared before may end."""
    known = {each.name: replace(each, chosen=()) for each in before.reservations}
    for index, each in enumerate(nation.reservations):
        if each.until_ms <= now_ms and known.get(each.name) != each:
            ended, field = format_moment(each.until_ms), f"reservations[{index}].until"
            message = f"reservation {each.name} ended {ended}; remove it, or give it a time to come"
            return Refusal(code=RefusalCode.RESERVATION_IN_THE_PAST, field=field, message=message)
    found, problems = settled(nation, before)
    if problems:
        message = "; ".join(str(each) for each in problems[:3])
        return Refusal(code=RefusalCode.RESERVATION_CLASHES, field=problems[0].field, message=message)
    return found


def reservation_notes(before: Nation, after: Nation, jobs: Iterable[JobCard], now_ms: int) -> tuple[str, ...]:
    """What an operator should know about reservations that are new or changed: their nodes, and who is still there."""
    changed = [each for each in after.reservations if each not in before.reservations and each.until_ms > now_ms]
    running = [card for card in jobs if card.placements and not card.state.is_waiting and not card.state.is_final]
    notes = []
    for each in changed:
        nodes = frozenset(each.chosen)
        there = [card for card in running if any(placement.node in nodes for placement in card.placements)]
        notes.append(f"{each.name}: {some_of(each.chosen, 8)}")
        notes += [_overlap_note(each, card, after, now_ms) for card in there if _stays_into(each, card, after)]
    hidden = len(notes) - MOST_NOTES
    return tuple(notes[:MOST_NOTES]) + ((f"and {hidden:,} more lines",) if hidden > 0 else ())


def _stays_into(reservation: Reservation, card: JobCard, nation: Nation) -> bool:
    """True when a job on one of its nodes is somebody else's, and is surely gone only after it begins."""
    share = nation.share_of(card.submitted.project)
    is_own = reservation.share in nation.share_path(share.name) if share and reservation.share else False
    ends_ms = (card.started_at_ms or 0) + card.submitted.time_ms + nation.timing.grace_ms
    return not is_own and ends_ms > reservation.from_ms


def _overlap_note(reservation: Reservation, card: JobCard, nation: Nation, now_ms: int) -> str:
    if card.submitted.preemptible:
        notice_ms = reservation.from_ms - nation.timing.warning_ms - nation.timing.grace_ms
        return f"{reservation.name}: {card.job} is warned at {format_moment(max(now_ms, notice_ms))} and leaves"
    ends_ms = (card.started_at_ms or 0) + card.submitted.time_ms
    return f"{reservation.name}: {card.job} may not be preempted; its time limit ends {format_moment(ends_ms)}"
