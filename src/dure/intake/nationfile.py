"""The nation file: what an operator declares. Read with all its mistakes told at once, and written back.

`write_nation` and `nation_from_yaml` are each other's inverse for every nation that was read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml
from msgspec import Struct

from dure.intake.assurances import (
    assurance_scheme_document,
    assurances_document,
    read_assurance_schemes,
    read_assurances,
)
from dure.intake.datasets import data_class_document, dataset_document, read_data_classes, read_datasets
from dure.intake.documents import read_yaml
from dure.intake.fields import (
    COUNTRY,
    GPU_CLASS,
    Entry,
    Problems,
    choice,
    duration,
    gpu_count,
    gpu_request,
    inside,
    listing,
    mapping,
    matching,
    memory,
    name,
    titles,
    whole_number,
)
from dure.intake.fractions import fractions_document, mig_names, mig_offered, parts_offered
from dure.intake.nation_checks import check_nation
from dure.intake.reservations import read_reservations, reservation_document
from dure.model.fleet import (
    ANY_PART,
    MOST_GPUS_PER_NODE,
    MOST_RESERVATIONS,
    Engine,
    GpuClass,
    NodeGroup,
    Site,
    Timing,
    Topology,
)
from dure.model.nation import Nation
from dure.model.organisations import UNLIMITED_MILLI, Organisation, OrganisationKind, Share, ShareAmount
from dure.model.units import DAY_MS, LONGEST_DURATION_MS, SECOND_MS, WHOLE_GPU_MILLI, format_duration

Document = dict[str, object]

MOST_ITEMS = 100_000
"""Organisations, shares or datasets of a nation, or projects of an organisation."""
MOST_GPU_CLASSES = 64
MOST_NODES_IN_A_GROUP = 100_000
MOST_CPUS = 4_096
LARGEST_WEIGHT = 1_000_000
LARGEST_EXCHANGE_MILLI = 1_000_000

_SECTIONS = (
    "gpu_classes",
    "timing",
    "assurance_schemes",
    "sites",
    "organisations",
    "shares",
    "data_classes",
    "datasets",
    "reservations",
)
_SITE = ("name", "title", "country", "owner", "engine", "assurances", "nodes")
_NODES = ("name", "count", "gpus", "cpus", "memory", "topology")
_TOPOLOGY = ("domain", "rack", "block", "spare")
_ORGANISATION = ("name", "kind", "country", "parent_country", "title", "projects")
_SHARE = ("name", "guarantee", "lend", "limit", "reclaim_per_hour", "weight", "children")
_GPU_CLASS = ("exchange", "half_life", "fractions", "mig")
_TIMING = (
    "protected",
    "warning",
    "grace",
    "half_life",
    "backfill_depth",
    "backfill_interval",
    "backfill_reservations",
    "suspect_after",
    "suspect_window",
    "probation",
)


def nation_from_yaml(document: str) -> Nation:
    """The nation in a nation file. Raises `BadInput` with all that is wrong."""
    return nation_from_document(read_yaml(document))


def nation_from_document(document: object) -> Nation:
    """The nation that a document's values mean, checked as a whole. Raises `BadInput` with all that is wrong.

    Names and references are always checked. Whether guarantees add up is checked once all amounts could be read.
    """
    problems = Problems()
    entry = Entry(problems, "", document, _SECTIONS)
    no_classes: tuple[GpuClass, ...] = ()
    no_shares: list[_WrittenShare] = []
    classes = entry.optional("gpu_classes", _gpu_classes, no_classes)
    shares = entry.optional("shares", _shares, no_shares)
    nation = Nation(
        gpu_classes=classes,
        timing=entry.optional("timing", _timing, Timing()),
        sites=entry.optional("sites", _sites, ()),
        organisations=entry.optional("organisations", _organisations, ()),
        shares=tuple(share.in_order_of(classes) for share in shares),
        datasets=entry.optional("datasets", read_datasets, ()),
        reservations=entry.optional("reservations", read_reservations, ()),
        data_classes=entry.optional("data_classes", read_data_classes, ()),
        assurance_schemes=entry.optional("assurance_schemes", read_assurance_schemes, ()),
    )
    problems.extend(check_nation(nation, with_amounts=not problems.found))
    problems.raise_if_any()
    return nation


def write_nation(nation: Nation) -> str:
    """The nation as a nation file."""
    return yaml.dump(nation_to_document(nation), Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=120)


def nation_to_document(nation: Nation) -> Document:
    """The nation as plain values, in the shape of a nation file; what goes without saying is left out."""
    sections: Document = {
        "gpu_classes": {each.name: _gpu_class_document(each) for each in nation.gpu_classes},
        "timing": _timing_document(nation.timing),
        "assurance_schemes": [assurance_scheme_document(each) for each in nation.assurance_schemes],
        "sites": [_site_document(each) for each in nation.sites],
        "organisations": [_organisation_document(each) for each in nation.organisations],
        "shares": _share_documents(nation.shares),
        "data_classes": [data_class_document(each) for each in nation.data_classes],
        "datasets": [dataset_document(each) for each in nation.datasets],
        "reservations": [reservation_document(each) for each in nation.reservations],
    }
    return _without_empty(sections)


def _gpu_classes(problems: Problems, field: str, value: object) -> tuple[GpuClass, ...]:
    classes = mapping(problems, field, value)
    if len(classes) > MOST_GPU_CLASSES:
        problems.add(field, f"{len(classes)} classes", f"has more than {MOST_GPU_CLASSES} classes")
        return ()
    return tuple(_gpu_class(problems, inside(field, each), each, facts) for each, facts in classes.items())


def _gpu_class(problems: Problems, field: str, class_name: str, value: object) -> GpuClass:
    _CLASS_NAME(problems, field, class_name)
    entry = Entry(problems, field, {} if value is None else value, _GPU_CLASS)
    no_names: tuple[str, ...] = ()
    names = entry.optional("mig", mig_names, no_names)
    return GpuClass(
        name=class_name,
        exchange_milli=entry.optional("exchange", _exchange, WHOLE_GPU_MILLI),
        half_life_ms=entry.optional("half_life", _HALF_LIFE, 0),
        parts=entry.optional("fractions", parts_offered, ANY_PART),
        mig=mig_offered(problems, f"{field}.mig", class_name, names) if names else (),
    )


def _exchange(problems: Problems, field: str, value: object) -> int:
    """What a GPU-hour counts against a reference GPU-hour, in thousandths."""
    try:
        milli = round(float(value) * 1000) if isinstance(value, str | int | float) else 0
    except (ValueError, OverflowError):
        milli = 0
    if not 1 <= milli <= LARGEST_EXCHANGE_MILLI:
        problems.add(field, value, "must be a number from 0.001 to 1,000", "write it like 1.0 or 2.2")
        return WHOLE_GPU_MILLI
    return milli


def _timing(problems: Problems, field: str, value: object) -> Timing:
    entry, usual = Entry(problems, field, value, _TIMING), Timing()
    timing = Timing(
        protected_ms=entry.optional("protected", _UP_TO_A_DAY, usual.protected_ms),
        warning_ms=entry.optional("warning", _UP_TO_A_DAY, usual.warning_ms),
        grace_ms=entry.optional("grace", _UP_TO_A_DAY, usual.grace_ms),
        half_life_ms=entry.optional("half_life", _HALF_LIFE, usual.half_life_ms),
        backfill_depth=entry.optional("backfill_depth", whole_number(0, 100_000), usual.backfill_depth),
        backfill_interval_ms=entry.optional("backfill_interval", _UP_TO_A_DAY, usual.backfill_interval_ms),
        backfill_reservations=entry.optional(
            "backfill_reservations", whole_number(1, MOST_RESERVATIONS), usual.backfill_reservations
        ),
        suspect_after=entry.optional("suspect_after", whole_number(0, 1_000), usual.suspect_after),
        suspect_window_ms=entry.optional("suspect_window", _HALF_LIFE, usual.suspect_window_ms),
        probation_ms=entry.optional("probation", _HALF_LIFE, usual.probation_ms),
    )
    if timing.backfill_reservations > max(1, timing.backfill_depth):
        looked_at = f"more than the {timing.backfill_depth:,} waiting jobs that are looked at"
        hint = f"raise backfill_depth to {timing.backfill_reservations}, or reserve for fewer"
        problems.add(f"{field}.backfill_reservations", timing.backfill_reservations, looked_at, hint)
    return timing


def _sites(problems: Problems, field: str, value: object) -> tuple[Site, ...]:
    return tuple(listing(problems, field, value, _site, MOST_ITEMS))


def _site(problems: Problems, field: str, value: object) -> Site:
    entry = Entry(problems, field, value, _SITE)
    title_ko, title_en = entry.optional("title", titles, ("", ""))
    return Site(
        name=entry.required("name", name, "give the site a name", ""),
        country=entry.required("country", _COUNTRY, "add its country, like KR", ""),
        owner=entry.required("owner", name, "add the organisation that owns it", ""),
        nodes=entry.optional("nodes", _node_groups, ()),
        engine=entry.optional("engine", choice(Engine), Engine.LOCAL),
        title_ko=title_ko,
        title_en=title_en,
        assurances=entry.optional("assurances", read_assurances, ()),
    )


def _node_groups(problems: Problems, field: str, value: object) -> tuple[NodeGroup, ...]:
    return tuple(listing(problems, field, value, _node_group, MOST_ITEMS))


def _node_group(problems: Problems, field: str, value: object) -> NodeGroup:
    entry = Entry(problems, field, value, _NODES)
    gpu_class, gpus = entry.optional("gpus", _gpus_of_a_node, ("", 0))
    group = NodeGroup(
        name=entry.required("name", name, "give the group a name; its nodes are called after it", ""),
        count=entry.required("count", whole_number(1, MOST_NODES_IN_A_GROUP), "add how many nodes there are", 1),
        gpu_class=gpu_class,
        gpus=gpus,
        cpus=entry.required("cpus", whole_number(1, MOST_CPUS), "add the CPUs of one node", 1),
        memory_mib=entry.required("memory", memory, "add the memory of one node, like 1024GB", 1),
        topology=entry.optional("topology", _topology, Topology()),
    )
    if group.count % group.topology.block:
        message = f"{group.count} nodes are not a whole number of blocks of {group.topology.block}"
        problems.add(f"{field}.topology", group.topology.block, message, "give the rest of the nodes their own group")
    return group


def _topology(problems: Problems, field: str, value: object) -> Topology:
    entry = Entry(problems, field, value, _TOPOLOGY)
    nodes = whole_number(1, MOST_NODES_IN_A_GROUP)
    domain = entry.optional("domain", nodes, 1)
    rack = entry.optional("rack", nodes, domain)
    block = entry.optional("block", nodes, rack)
    spare = entry.optional("spare", whole_number(0, MOST_NODES_IN_A_GROUP), 0)
    for name_, outer, inner_name, inner in (("rack", rack, "domain", domain), ("block", block, "rack", rack)):
        if outer % inner:
            message = f"{outer} nodes are not a whole number of {inner_name}s of {inner}"
            problems.add(f"{field}.{name_}", outer, message, f"write a multiple of {inner}")
    if spare >= domain and spare:
        message = f"a domain of {domain} node(s) cannot keep {spare} as spares"
        problems.add(f"{field}.spare", spare, message, "leave at least one node of a domain to be used")
    return Topology(domain=domain, rack=rack, block=block, spare=spare)


def _gpus_of_a_node(problems: Problems, field: str, value: object) -> tuple[str, int]:
    before = len(problems.found)
    request = gpu_request(problems, field, value)
    gpus, rest = divmod(request.milli, WHOLE_GPU_MILLI)
    if len(problems.found) > before:
        return "", 0
    if not request.gpu_class or rest or not 1 <= gpus <= MOST_GPUS_PER_NODE:
        message = f"a node has 1 to {MOST_GPUS_PER_NODE} whole GPUs of one class"
        problems.add(field, value, message, "write it like H100:8, or leave it out for a node without GPUs")
        return "", 0
    return request.gpu_class, gpus


def _organisations(problems: Problems, field: str, value: object) -> tuple[Organisation, ...]:
    return tuple(listing(problems, field, value, _organisation, MOST_ITEMS))


def _organisation(problems: Problems, field: str, value: object) -> Organisation:
    entry = Entry(problems, field, value, _ORGANISATION)
    title_ko, title_en = entry.optional("title", titles, ("", ""))
    country = entry.required("country", _COUNTRY, "add where it is established, like KR", "")
    return Organisation(
        name=entry.required("name", name, "give the organisation a name", ""),
        kind=entry.required("kind", choice(OrganisationKind), "add what it is, like startup", OrganisationKind.SME),
        country=country,
        parent_country=entry.optional("parent_country", _COUNTRY, country),
        projects=entry.optional("projects", _names, ()),
        title_ko=title_ko,
        title_en=title_en,
    )


def _names(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return tuple(listing(problems, field, value, name, MOST_ITEMS))


class _WrittenShare(Struct, frozen=True):
    """A share as it stands in the file: amounts by kind and class."""

    name: str
    parent: str | None
    weight: int
    guarantee: dict[str, int]
    limit: dict[str, int]
    lend: dict[str, int]
    reclaim_per_hour: dict[str, int]

    def in_order_of(self, classes: tuple[GpuClass, ...]) -> Share:
        """The share with its amounts in the order in which the classes are declared, unknown ones last."""
        written = dict.fromkeys([*self.guarantee, *self.limit, *self.lend, *self.reclaim_per_hour])
        ordered = [each.name for each in classes if each.name in written]
        ordered += [each for each in written if each not in ordered]
        amounts = (self._amount(each) for each in ordered)
        usual = {each: ShareAmount(gpu_class=each) for each in ordered}
        return Share(
            name=self.name,
            parent=self.parent,
            weight=self.weight,
            amounts=tuple(each for each in amounts if each != usual[each.gpu_class]),
        )

    def _amount(self, gpu_class: str) -> ShareAmount:
        return ShareAmount(
            gpu_class=gpu_class,
            guarantee_milli=self.guarantee.get(gpu_class, 0),
            limit_milli=self.limit.get(gpu_class, UNLIMITED_MILLI),
            lend_milli=self.lend.get(gpu_class, UNLIMITED_MILLI),
            reclaim_per_hour_milli=self.reclaim_per_hour.get(gpu_class, UNLIMITED_MILLI),
        )


def _shares(problems: Problems, field: str, value: object) -> list[_WrittenShare]:
    return list(_share_tree(problems, field, value, parent=None))


def _share_tree(problems: Problems, field: str, value: object, parent: str | None) -> Iterator[_WrittenShare]:
    """Parents before children, each branch whole before the next."""
    for index, each in enumerate(listing(problems, field, value, lambda _, __, item: item, MOST_ITEMS)):
        path = f"{field}[{index}]"
        entry = Entry(problems, path, each, _SHARE)
        share = _WrittenShare(
            name=entry.required("name", name, "name it after an organisation, a project, or a group of them", ""),
            parent=parent,
            weight=entry.optional("weight", whole_number(1, LARGEST_WEIGHT), 1),
            guarantee=entry.optional("guarantee", _amounts, {}),
            limit=entry.optional("limit", _amounts, {}),
            lend=entry.optional("lend", _amounts, {}),
            reclaim_per_hour=entry.optional("reclaim_per_hour", _amounts, {}),
        )
        yield share
        if isinstance(each, dict) and "children" in each:
            yield from _share_tree(problems, f"{path}.children", each["children"], parent=share.name)


def _amounts(problems: Problems, field: str, value: object) -> dict[str, int]:
    """GPUs by class, in thousandths."""
    amounts = mapping(problems, field, value)
    return {each: gpu_count(problems, inside(field, each), count) for each, count in amounts.items()}


_COUNTRY = matching(COUNTRY, "must be a country of two capital letters, like KR")
_CLASS_NAME = matching(GPU_CLASS, "must be a GPU class: letters, digits, '.', '_' or '-', at most 32, a letter first")
_UP_TO_A_DAY = duration(0, DAY_MS, "at most a day")
_HALF_LIFE = duration(SECOND_MS, LONGEST_DURATION_MS, "between one second and ten years")


def _gpu_class_document(gpu_class: GpuClass) -> Document:
    own_half_life = format_duration(gpu_class.half_life_ms) if gpu_class.half_life_ms else ""
    usual = _without_empty({"exchange": _thousandths(gpu_class.exchange_milli), "half_life": own_half_life})
    return usual | fractions_document(gpu_class)


def _timing_document(timing: Timing) -> Document:
    return {
        "protected": format_duration(timing.protected_ms),
        "warning": format_duration(timing.warning_ms),
        "grace": format_duration(timing.grace_ms),
        "half_life": format_duration(timing.half_life_ms),
        "backfill_depth": timing.backfill_depth,
        "backfill_interval": format_duration(timing.backfill_interval_ms),
        "backfill_reservations": timing.backfill_reservations,
        "suspect_after": timing.suspect_after,
        "suspect_window": format_duration(timing.suspect_window_ms),
        "probation": format_duration(timing.probation_ms),
    }


def _site_document(site: Site) -> Document:
    return _without_empty(
        {
            "name": site.name,
            "title": _without_empty({"ko": site.title_ko, "en": site.title_en}),
            "country": site.country,
            "owner": site.owner,
            "engine": site.engine.value,
            "assurances": assurances_document(site.assurances),
            "nodes": [_node_group_document(each) for each in site.nodes],
        }
    )


def _node_group_document(group: NodeGroup) -> Document:
    gpus = f"{group.gpu_class}:{group.gpus}" if group.gpus else ""
    sizes: Document = {"cpus": group.cpus, "memory": _memory_text(group.memory_mib)}
    if group.topology != Topology():
        near = group.topology
        sizes["topology"] = {"domain": near.domain, "rack": near.rack, "block": near.block, "spare": near.spare}
    return _without_empty({"name": group.name, "count": group.count, "gpus": gpus}) | sizes


def _organisation_document(organisation: Organisation) -> Document:
    abroad = organisation.parent_country != organisation.country
    return _without_empty(
        {
            "name": organisation.name,
            "kind": organisation.kind.value,
            "country": organisation.country,
            "parent_country": organisation.parent_country if abroad else "",
            "title": _without_empty({"ko": organisation.title_ko, "en": organisation.title_en}),
            "projects": list(organisation.projects),
        }
    )


def _share_documents(shares: tuple[Share, ...]) -> list[Document]:
    """The tree as it is written: children inside their parents."""
    children: dict[str | None, list[Share]] = {}
    for share in shares:
        children.setdefault(share.parent, []).append(share)

    def below(parent: str | None) -> list[Document]:
        return [
            _share_document(share) | _without_empty({"children": below(share.name)})
            for share in children.get(parent, [])
        ]

    return below(None)


def _share_document(share: Share) -> Document:
    amounts = share.amounts
    return _without_empty(
        {
            "name": share.name,
            "guarantee": _gpus_by_class({each.gpu_class: each.guarantee_milli for each in amounts}, unsaid=0),
            "lend": _gpus_by_class({each.gpu_class: each.lend_milli for each in amounts}, unsaid=UNLIMITED_MILLI),
            "limit": _gpus_by_class({each.gpu_class: each.limit_milli for each in amounts}, unsaid=UNLIMITED_MILLI),
            "reclaim_per_hour": _gpus_by_class(
                {each.gpu_class: each.reclaim_per_hour_milli for each in amounts}, unsaid=UNLIMITED_MILLI
            ),
            "weight": share.weight,
        }
    )


def _gpus_by_class(amounts: Mapping[str, int], unsaid: int) -> Document:
    return {each: _thousandths(milli) for each, milli in amounts.items() if milli != unsaid}


def _without_empty(document: Document) -> Document:
    return {key: value for key, value in document.items() if value not in ("", [], {}, None)}


def _thousandths(milli: int) -> int | float:
    return milli // 1000 if milli % 1000 == 0 else milli / 1000


def _memory_text(mib: int) -> str:
    return f"{mib // 1024}GB" if mib % 1024 == 0 else f"{mib}MB"
