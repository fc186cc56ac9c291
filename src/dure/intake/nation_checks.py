"""What must be true of a nation as a whole: names are unique, references exist, guarantees can be kept.

Every check yields all the problems it finds. Empty names are skipped: whatever could not be read was reported already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from dure.intake.assurances import assurance_schemes_are_sound, assurances_name_declared_grades
from dure.intake.datasets import data_classes_are_the_programmes_own, datasets_are_classed
from dure.intake.nation_index import NationIndex
from dure.intake.refusals import Problem, did_you_mean, shown
from dure.intake.reservations import reservations_fit_the_fleet, reservations_name_what_there_is
from dure.model.fleet import MOST_SITES
from dure.model.nation import Nation
from dure.model.organisations import DEEPEST_SHARE_TREE, UNLIMITED_MILLI, Share
from dure.model.units import format_gpus

Check = Callable[[Nation], Iterator[Problem]]


def check_nation(nation: Nation, with_amounts: bool = True) -> list[Problem]:
    """Everything that is wrong with a nation. Without `with_amounts`, only names and references are looked at."""
    checks = (*NAME_CHECKS, *AMOUNT_CHECKS) if with_amounts else NAME_CHECKS
    return [problem for check in checks for problem in check(nation)]


def there_are_not_too_many_sites(nation: Nation) -> Iterator[Problem]:
    """Where a job may run is kept as one bit per site."""
    if len(nation.sites) > MOST_SITES:
        yield _problem("sites", f"{len(nation.sites)} sites", f"has more than {MOST_SITES} sites", "join some of them")


def names_are_unique(nation: Nation) -> Iterator[Problem]:
    """No two things of a kind share a name. Nodes are called after their group, so groups are unique everywhere."""
    yield from _repeated("sites", [site.name for site in nation.sites], "site")
    groups = {
        f"sites[{s}].nodes[{g}].name": group.name
        for s, site in enumerate(nation.sites)
        for g, group in enumerate(site.nodes)
    }
    yield from _repeated_at(groups, "node group")
    yield from _repeated("organisations", [each.name for each in nation.organisations], "organisation")
    yield from _repeated_at(_share_fields(nation), "share")
    yield from _repeated("datasets", [each.name for each in nation.datasets], "dataset")
    yield from _repeated("reservations", [each.name for each in nation.reservations], "reservation")


def gpu_classes_differ_by_more_than_capitals(nation: Nation) -> Iterator[Problem]:
    """Jobs may write a class in any capitals."""
    seen: dict[str, str] = {}
    for each in nation.gpu_classes:
        first = seen.setdefault(each.name.lower(), each.name)
        if first != each.name:
            yield _problem(f"gpu_classes.{each.name}", each.name, f"differs from {first} only in capitals", "keep one")


def projects_belong_to_one_organisation(nation: Nation) -> Iterator[Problem]:
    """A project has one owner, and takes no other organisation's name: it would run under that one's share."""
    owner: dict[str, str] = {}
    organisations = {each.name for each in nation.organisations}
    for index, organisation in enumerate(nation.organisations):
        for position, project in enumerate(organisation.projects):
            field = f"organisations[{index}].projects[{position}]"
            if project in owner:
                message = f"the project is already in organisation {owner[project]}"
                yield _problem(field, project, message, "a project belongs to one organisation")
            if project in organisations and project != organisation.name:
                message = "the project has the name of another organisation, and would run under its share"
                yield _problem(field, project, message, "give it another name")
            owner.setdefault(project, organisation.name)


def owners_are_known(nation: Nation) -> Iterator[Problem]:
    """Sites and datasets belong to organisations, and organisations read datasets."""
    known = [each.name for each in nation.organisations]
    for index, site in enumerate(nation.sites):
        yield from _unknown(f"sites[{index}].owner", [site.owner], known, "organisation")
    for index, dataset in enumerate(nation.datasets):
        yield from _unknown(f"datasets[{index}].owner", [dataset.owner], known, "organisation")
        readers = [each for each in dataset.readers if each != "*"]
        yield from _unknown(f"datasets[{index}].readers", readers, known, "organisation")


def sites_of_datasets_are_known(nation: Nation) -> Iterator[Problem]:
    """A copy lies at a site that exists, and a path belongs to a copy."""
    known = [each.name for each in nation.sites]
    for index, dataset in enumerate(nation.datasets):
        yield from _unknown(f"datasets[{index}].sites", dataset.sites, known, "site")
        for site in dataset.paths:
            if site not in dataset.sites:
                message = "there is a path at a site that holds no copy"
                yield _problem(f"datasets[{index}].paths.{site}", site, message, f"add {site} to sites")


def gpu_classes_are_known(nation: Nation) -> Iterator[Problem]:
    """Nodes and shares speak of declared classes only."""
    known = [each.name for each in nation.gpu_classes]
    for s, site in enumerate(nation.sites):
        for g, group in enumerate(site.nodes):
            yield from _unknown(f"sites[{s}].nodes[{g}].gpus", [group.gpu_class], known, "GPU class")
    for field, share in _shares_by_field(nation):
        yield from _unknown(field, [amount.gpu_class for amount in share.amounts], known, "GPU class")


def share_tree_is_not_too_deep(nation: Nation) -> Iterator[Problem]:
    """Every level costs a step in every decision."""
    depth: dict[str | None, int] = {None: 0}
    for field, share in _shares_by_field(nation):
        depth[share.name] = depth.get(share.parent, 0) + 1
        if depth[share.name] == DEEPEST_SHARE_TREE + 1:
            yield _problem(field, share.name, f"the tree is deeper than {DEEPEST_SHARE_TREE} levels", "flatten it")


def shares_take_jobs_at_the_leaves(nation: Nation) -> Iterator[Problem]:
    """A share with children takes no jobs itself, so every project it would take needs a child of its own."""
    fields = {share.name: field for field, share in _shares_by_field(nation)}
    parents = {share.parent for share in nation.shares}
    index = NationIndex(nation)
    for project in (project for each in nation.organisations for project in each.projects):
        share = index.share_of(project)
        if share is not None and share.name in parents:
            message = f"project {project} would run under this share, which has children"
            yield _problem(fields[share.name], share.name, message, f"add a child named {project}")


def leaves_have_a_namesake(nation: Nation) -> Iterator[Problem]:
    """A share without children is named after the organisation or project whose jobs it takes."""
    parents = {share.parent for share in nation.shares}
    takers = [name for each in nation.organisations for name in (each.name, *each.projects)]
    for field, share in _shares_by_field(nation):
        if share.name and share.name not in parents and share.name not in takers:
            hint = did_you_mean(share.name, takers, "add the project")
            yield _problem(field, share.name, "no organisation or project has this name, so no job runs under it", hint)


def every_gpu_class_has_nodes(nation: Nation) -> Iterator[Problem]:
    """A class that nobody has can be promised to nobody."""
    for each in nation.gpu_classes:
        if nation.capacity_milli(each.name) == 0:
            hint = "add nodes with it, or remove the class"
            yield _problem(f"gpu_classes.{each.name}", each.name, "no node has this class", hint)


def guarantees_add_up(nation: Nation) -> Iterator[Problem]:
    """Children are promised no more than their parent, and all together no more than there is."""
    fields = {share.name: field for field, share in _shares_by_field(nation)}
    promised = _guaranteed_to_children(nation)
    for gpu_class in (each.name for each in nation.gpu_classes):
        capacity = nation.capacity_milli(gpu_class)
        everybody = promised.get((None, gpu_class), 0)
        if everybody > capacity:
            message = f"all shares together are guaranteed {format_gpus(everybody)} {gpu_class}"
            yield _broken_promise("shares", message, f"there are only {format_gpus(capacity)}")
        for share in nation.shares:
            own = nation.amount(share, gpu_class).guarantee_milli
            children = promised.get((share.name, gpu_class), 0)
            if children > own:
                message = f"the children of {share.name} are guaranteed {format_gpus(children)} {gpu_class}"
                yield _broken_promise(fields[share.name], message, f"it is guaranteed only {format_gpus(own)}")


def _guaranteed_to_children(nation: Nation) -> dict[tuple[str | None, str], int]:
    """Thousandths of a GPU by parent (None at the top) and class."""
    totals: dict[tuple[str | None, str], int] = {}
    for share in nation.shares:
        for amount in share.amounts:
            key = (share.parent, amount.gpu_class)
            totals[key] = totals.get(key, 0) + amount.guarantee_milli
    return totals


def _broken_promise(field: str, message: str, but: str) -> Problem:
    hint = "lower the guarantees, or add GPUs"
    return Problem(field=f"{field}.guarantee", value="", message=f"{message}, but {but}", hint=hint)


def amounts_of_a_share_agree(nation: Nation) -> Iterator[Problem]:
    """A share can use what it is guaranteed, lends no more than that, and gets it back some time."""
    for field, share in _shares_by_field(nation):
        for amount in share.amounts:
            guarantee = amount.guarantee_milli
            if amount.limit_milli < guarantee:
                message = f"is below the guarantee of {format_gpus(guarantee)}"
                where = f"{field}.limit.{amount.gpu_class}"
                yield _problem(
                    where, format_gpus(amount.limit_milli), message, "raise the limit or lower the guarantee"
                )
            if guarantee < amount.lend_milli < UNLIMITED_MILLI:
                message = f"is more than the guarantee of {format_gpus(guarantee)}"
                where = f"{field}.lend.{amount.gpu_class}"
                yield _problem(
                    where, format_gpus(amount.lend_milli), message, "a share lends at most what it is guaranteed"
                )
            if amount.reclaim_per_hour_milli == 0:
                where = f"{field}.reclaim_per_hour.{amount.gpu_class}"
                hint = "write how many GPUs it may take back in an hour, or leave it out for no limit"
                yield _problem(where, "0", "would never take its guarantee back", hint)


NAME_CHECKS: tuple[Check, ...] = (
    there_are_not_too_many_sites,
    names_are_unique,
    gpu_classes_differ_by_more_than_capitals,
    projects_belong_to_one_organisation,
    owners_are_known,
    sites_of_datasets_are_known,
    data_classes_are_the_programmes_own,
    datasets_are_classed,
    assurance_schemes_are_sound,
    assurances_name_declared_grades,
    gpu_classes_are_known,
    share_tree_is_not_too_deep,
    shares_take_jobs_at_the_leaves,
    leaves_have_a_namesake,
    reservations_name_what_there_is,
)
AMOUNT_CHECKS: tuple[Check, ...] = (
    every_gpu_class_has_nodes,
    guarantees_add_up,
    amounts_of_a_share_agree,
    reservations_fit_the_fleet,
)


def _problem(field: str, value: str, message: str, hint: str) -> Problem:
    return Problem(field=field, value=shown(value) if value else "", message=message, hint=hint)


def _repeated(section: str, names: Sequence[str], kind: str) -> Iterator[Problem]:
    return _repeated_at({f"{section}[{index}].name": name for index, name in enumerate(names)}, kind)


def _repeated_at(names_by_field: dict[str, str], kind: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for field, name in names_by_field.items():
        if name and name in first:
            yield _problem(field, name, f"the {kind} is already at {first[name]}", "give one of them another name")
        first.setdefault(name, field)


def _unknown(field: str, names: Iterable[str], known: Sequence[str], kind: str) -> Iterator[Problem]:
    for name in names:
        if name and name not in known:
            yield _problem(
                field, name, f"there is no such {kind}", did_you_mean(name, known, f"declare it as a {kind}")
            )


def _shares_by_field(nation: Nation) -> Iterator[tuple[str, Share]]:
    """Every share with its path in the file: children are counted within their parent."""
    path: dict[str | None, str] = {None: "shares"}
    count: dict[str | None, int] = {}
    for share in nation.shares:
        position = count.get(share.parent, 0)
        count[share.parent] = position + 1
        field = f"{path.get(share.parent, 'shares')}[{position}]"
        path.setdefault(share.name, f"{field}.children")
        yield field, share


def _share_fields(nation: Nation) -> dict[str, str]:
    return {f"{field}.name": share.name for field, share in _shares_by_field(nation)}
