"""The accounts that Slurm should have for a nation's share tree, and what to tell `sacctmgr` so that it has them.

Nothing here remembers: what is wanted is compared with what is there, as often as one likes. So an account exists
before the first job of a new project, a change that was missed is made later, and one made by hand is taken back.

A share or project is an account below the site's `account_root`. Its Slurm fairshare is the GPUs it is guaranteed plus
its weight. Its limit is Slurm's too (`GrpTRES`), as a second fence: Dure never places more, so Slurm never has to hold
back what Dure placed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from dure.executors.slurm.site import SlurmSite
from dure.executors.slurm.submission import account_name
from dure.model.nation import Nation
from dure.model.organisations import UNLIMITED_MILLI, Share
from dure.model.units import WHOLE_GPU_MILLI

GPUS = "gres/gpu"
NO_LIMIT = -1
QUERY = ("--noheader", "--parsable2", "list", "associations")
FIELDS = "format=Account,ParentName,User,Fairshare,GrpTRES,Partition"
_DEFAULT_FAIRSHARE = 1


class Account(Struct, frozen=True, kw_only=True):
    """One of Dure's accounts in Slurm."""

    name: str
    parent: str
    fairshare: int
    limits: tuple[tuple[str, int], ...] = ()
    """At most so many of each kind of GPU at once, by Slurm's name of it; sorted, and silent about those without."""
    has_user: bool = False
    """Jobs may be charged to it: the user that they run as belongs to it."""


def wanted_accounts(nation: Nation, site_name: str, site: SlurmSite) -> dict[str, Account]:
    """The accounts that a site's Slurm should have, parents before children."""
    root = site.account_root.lower()
    found = {root: Account(name=root, parent="root", fairshare=_DEFAULT_FAIRSHARE)}
    for share in nation.shares:
        account = Account(
            name=account_name(site, share.name),
            parent=account_name(site, share.parent) if share.parent else root,
            fairshare=_fairshare(nation, share),
            limits=_limits(nation, share, _classes_at(nation, site_name), site),
        )
        found[account.name] = account
    for organisation in nation.organisations:
        for project in organisation.projects:
            account = _of_project(nation, project, found, site)
            found[account.name] = account
    return found


def read_accounts(listing: str, site: SlurmSite, user: str) -> dict[str, Account]:
    """The accounts that Slurm has at or below the site's root, from what `sacctmgr` lists of its associations."""
    root = site.account_root.lower()
    accounts: dict[str, Account] = {}
    charged: set[str] = set()
    for line in listing.splitlines():
        name, parent, member, fairshare, limits, partition = line.split("|", 5)
        if name != root and not name.startswith(f"{root}-"):
            continue
        if not member:
            share = int(fairshare) if fairshare.isdecimal() else _DEFAULT_FAIRSHARE
            accounts[name] = Account(name=name, parent=parent, fairshare=share, limits=_read_limits(limits))
        elif member == user and not partition:
            charged.add(name)
    return {
        name: Account(
            name=name,
            parent=each.parent,
            fairshare=each.fairshare,
            limits=each.limits,
            has_user=name in charged,
        )
        for name, each in accounts.items()
    }


def commands(
    wanted: Mapping[str, Account], present: Mapping[str, Account], cluster: str, user: str
) -> list[tuple[str, ...]]:
    """What to tell `sacctmgr`, in this order, so that what is present becomes what is wanted."""
    told: list[tuple[str, ...]] = []
    for account in wanted.values():
        there = present.get(account.name)
        if there is None:
            told.append(("add", "account", account.name, f"cluster={cluster}", *_settings(account, None)))
        elif (account.parent, account.fairshare, account.limits) != (there.parent, there.fairshare, there.limits):
            where = ("where", f"name={account.name}", f"cluster={cluster}")
            told.append(("modify", "account", *where, "set", *_settings(account, there)))
        if account.has_user and (there is None or not there.has_user):
            told.append(("add", "user", f"name={user}", f"account={account.name}", f"cluster={cluster}"))
    surplus = _children_first(present, [name for name in present if name not in wanted])
    told.extend(("delete", "account", f"name={name}", f"cluster={cluster}") for name in surplus)
    return told


def _of_project(nation: Nation, project: str, found: Mapping[str, Account], site: SlurmSite) -> Account:
    """The account that a project's jobs are charged to: that of its own share, or one below its organisation's."""
    name = account_name(site, project)
    share = nation.share_of(project)
    own = found.get(name)
    if own is not None:
        return Account(name=name, parent=own.parent, fairshare=own.fairshare, limits=own.limits, has_user=True)
    parent = account_name(site, share.name) if share else site.account_root.lower()
    return Account(name=name, parent=parent, fairshare=_DEFAULT_FAIRSHARE, has_user=True)


def _classes_at(nation: Nation, site_name: str) -> list[str]:
    """The GPU classes that a site has, each once."""
    groups = (group for site, group in nation.node_groups() if site.name == site_name and group.gpu_class)
    return sorted({group.gpu_class for group in groups})


def _fairshare(nation: Nation, share: Share) -> int:
    guaranteed = sum(nation.amount(share, each.name).guarantee_milli for each in nation.gpu_classes)
    return -(-guaranteed // WHOLE_GPU_MILLI) + share.weight


def _limits(nation: Nation, share: Share, classes: Iterable[str], site: SlurmSite) -> tuple[tuple[str, int], ...]:
    """The share's limits by Slurm's kinds of GPUs, rounded up to whole ones. Several classes may be one kind there."""
    of_kind: dict[str, int] = {}
    for each in classes:
        kind = f"{GPUS}:{site.gpu_types[each]}" if each in site.gpu_types else GPUS
        most_milli = nation.amount(share, each).limit_milli
        of_kind[kind] = min(UNLIMITED_MILLI, of_kind.get(kind, 0) + most_milli)
    return tuple(
        (kind, -(-milli // WHOLE_GPU_MILLI)) for kind, milli in sorted(of_kind.items()) if milli < UNLIMITED_MILLI
    )


def _read_limits(text: str) -> tuple[tuple[str, int], ...]:
    """The limits on GPUs; those on anything else are the site's own business."""
    pairs = (part.split("=", 1) for part in text.split(",") if part.startswith(GPUS))
    return tuple(sorted((kind, int(most)) for kind, most in pairs if most.isdecimal()))


def _settings(account: Account, there: Account | None) -> tuple[str, ...]:
    """Only what differs: told to move an account to where it is, Slurm changes nothing else either."""
    present = there or Account(name=account.name, parent="", fairshare=0)
    lifted = {kind: NO_LIMIT for kind, _ in present.limits}
    limits = ",".join(f"{kind}={most}" for kind, most in sorted((lifted | dict(account.limits)).items()))
    return (
        *((f"parent={account.parent}",) if account.parent != present.parent else ()),
        *((f"fairshare={account.fairshare}",) if account.fairshare != present.fairshare else ()),
        *((f"grptres={limits}",) if account.limits != present.limits else ()),
    )


def _children_first(present: Mapping[str, Account], names: Iterable[str]) -> list[str]:
    def depth(name: str) -> int:
        above = present.get(present[name].parent)
        return 0 if above is None else 1 + depth(above.name)

    return sorted(names, key=lambda name: (-depth(name), name))
