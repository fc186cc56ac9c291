"""Slurm's accounts follow the nation, and its books are held against ours: pure functions, then a real slurmdbd."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from dure.executors.contract import Ended, Launch, Started
from dure.executors.slurm.accounting import GpuTime, differences, read_gpu_times
from dure.executors.slurm.accounts import Account, commands, read_accounts, wanted_accounts
from dure.executors.slurm.executor import SlurmExecutor
from dure.executors.slurm.reconciling import AccountKeeper, reconcile_accounts
from dure.executors.slurm.site import SlurmSite
from dure.model.fleet import Engine as SiteEngine
from dure.model.fleet import GpuClass, NodeGroup, Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind, Share, ShareAmount
from tests.control.server import running_server

from . import slurm_accounting
from .engines import Engine, eventually, launch
from .slurm_accounting import AccountedCluster
from .test_slurm_platform import state_of

SITE = SlurmSite(work_folder="/shared", account_root="Dure", gpu_types={"H100": "h100"})


def organisation(name: str, *projects: str) -> Organisation:
    return Organisation(
        name=name, kind=OrganisationKind.UNIVERSITY, country="KR", parent_country="KR", projects=projects
    )


def share(name: str, parent: str | None = None, guarantee: int = 0, limit: int | None = None, weight: int = 1) -> Share:
    amount = ShareAmount(gpu_class="H100", guarantee_milli=guarantee * 1000)
    if limit is not None:
        amount = structs.replace(amount, limit_milli=limit * 1000)
    return Share(name=name, parent=parent, weight=weight, amounts=(amount,))


def nation(*shares: Share, organisations: tuple[Organisation, ...] = ()) -> Nation:
    group = NodeGroup(name="seoul", count=4, gpu_class="H100", gpus=8, cpus=16, memory_mib=64_000)
    site = Site(name="seoul", country="KR", owner="snu", nodes=(group,), engine=SiteEngine.SLURM)
    return Nation(gpu_classes=(GpuClass(name="H100"),), sites=(site,), shares=shares, organisations=organisations)


NATION = nation(
    share("science", guarantee=16, limit=24, weight=2),
    share("snu", parent="science", guarantee=8),
    share("kaist", parent="science", limit=4),
    organisations=(organisation("snu", "protein", "climate"), organisation("kaist", "kaist")),
)


def test_the_share_tree_becomes_a_tree_of_accounts_with_a_leaf_per_project() -> None:
    found = wanted_accounts(NATION, "seoul", SITE)
    assert list(found.values()) == [
        Account(name="dure", parent="root", fairshare=1),
        Account(name="dure-science", parent="dure", fairshare=18, limits=(("gres/gpu:h100", 24),)),
        Account(name="dure-snu", parent="dure-science", fairshare=9),
        Account(name="dure-kaist", parent="dure-science", fairshare=1, limits=(("gres/gpu:h100", 4),), has_user=True),
        Account(name="dure-protein", parent="dure-snu", fairshare=1, has_user=True),
        Account(name="dure-climate", parent="dure-snu", fairshare=1, has_user=True),
    ]


def test_a_part_of_a_gpu_in_a_limit_is_rounded_up_and_another_sites_classes_are_left_out() -> None:
    amounts = (
        ShareAmount(gpu_class="H100", limit_milli=1_250),
        ShareAmount(gpu_class="B200", limit_milli=64_000),
    )
    found = wanted_accounts(nation(Share(name="snu", parent=None, amounts=amounts)), "seoul", SITE)
    assert found["dure-snu"].limits == (("gres/gpu:h100", 2),)


NAMES = st.sampled_from(["a", "b", "c", "d"])
ACCOUNTS = st.builds(
    Account,
    name=NAMES.map("dure-{}".format),
    parent=st.just("dure"),
    fairshare=st.integers(1, 3),
    limits=st.sampled_from([(), (("gres/gpu", 4),), (("gres/gpu", 4), ("gres/gpu:h100", 2))]),
    has_user=st.booleans(),
)
TREES = st.lists(ACCOUNTS).map(lambda found: {each.name: each for each in found})


def carried_out(present: dict[str, Account], told: list[tuple[str, ...]]) -> dict[str, Account]:
    """What Slurm does when it is told so."""
    found = dict(present)
    for verb, what, *words in told:
        settings = dict(word.split("=", 1) for word in words if "=" in word)
        name = words[0] if (verb, what) == ("add", "account") else settings.get("account") or settings["name"]
        match verb, what:
            case "delete", "account":
                del found[name]
            case "add", "user":
                found[name] = structs.replace(found[name], has_user=True)
            case _:
                assert len(settings) > 1, "there is something to change"
                before = found.get(name) or Account(name=name, parent="", fairshare=1)
                limits = dict(before.limits)
                for part in filter(None, settings.get("grptres", "").split(",")):
                    kind, most = part.rsplit("=", 1)
                    limits[kind] = int(most)
                found[name] = structs.replace(
                    before,
                    parent=settings.get("parent", before.parent),
                    fairshare=int(settings.get("fairshare", before.fairshare)),
                    limits=tuple(sorted((kind, most) for kind, most in limits.items() if most >= 0)),
                )
    return found


@given(wanted=TREES, present=TREES)
def test_what_is_told_makes_present_what_is_wanted_and_then_there_is_nothing_to_tell(
    wanted: dict[str, Account], present: dict[str, Account]
) -> None:
    after = carried_out(present, commands(wanted, present, "c", "u"))
    # An account that nobody charges any more keeps its user: it takes no job of Dure's.
    expected = {
        name: structs.replace(each, has_user=each.has_user or (name in present and present[name].has_user))
        for name, each in wanted.items()
    }
    assert after == expected
    assert commands(wanted, after, "c", "u") == []


def test_accounts_of_others_are_never_touched() -> None:
    listing = "root||||||\nphysics|root||10||\ndurere|root||1||\ndure|root||1||\ndure-old|dure||1|gres/gpu=4,cpu=7|\n"
    present = read_accounts(listing, SITE, "slurm")
    assert list(present) == ["dure", "dure-old"]
    assert present["dure-old"].limits == (("gres/gpu", 4),)


def gpu_time(attempt_id: str, gpus: int, gpu_ms: int) -> GpuTime:
    return GpuTime(attempt_id=attempt_id, gpus=gpus, gpu_ms=gpu_ms)


def test_books_that_agree_within_the_tolerance_have_no_difference() -> None:
    ours = [gpu_time("j1.1", 8, 8 * 3_600_000)]
    assert differences(ours, {"j1.1": gpu_time("j1.1", 8, 8 * 3_605_000)}) == []


def test_every_kind_of_difference_is_named() -> None:
    ours = [gpu_time("j1.1", 8, 8 * 60_000), gpu_time("j2.1", 2, 60_000), gpu_time("j3.1", 2, 60_000)]
    slurms = {
        "j1.1": gpu_time("j1.1", 8, 8 * 90_000),
        "j3.1": gpu_time("j3.1", 4, 120_000),
        "j4.1": gpu_time("j4.1", 1, 60_000),
        "j5.1": gpu_time("j5.1", 8, 8_000),
    }
    assert [(each.attempt_id, each.reason) for each in differences(ours, slurms)] == [
        ("j1.1", "the times differ"),
        ("j2.1", "Slurm's database has no job of it"),
        ("j3.1", "it was placed on 2 GPUs and Slurm gave it 4"),
        ("j4.1", "Dure's ledger has no end of it"),
    ]


@pytest.fixture(scope="module")
def accounted() -> Iterator[AccountedCluster]:
    """A real Slurm with its database."""
    if reason := slurm_accounting.missing():
        pytest.skip(reason)
    with closing(AccountedCluster()) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def site(accounted: AccountedCluster, tmp_path: Path) -> SlurmSite:
    return structs.replace(
        SITE, work_folder=str(tmp_path / "state"), conf=str(accounted.conf), python=sys.executable, poll_interval_s=1
    )


@pytest.fixture
def engine(site: SlurmSite, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "state", lambda: SlurmExecutor(site))
    yield engine
    engine.executor.close(kill=True)


def of_project(project: str, order: Launch) -> Launch:
    return structs.replace(order, project=project)


def listed(cluster: AccountedCluster, name: str) -> str:
    fields = "format=ParentName,Fairshare,GrpTRES"
    return cluster.run("sacctmgr", "-nP", "list", "associations", f"account={name}", "user=", fields).strip()


def test_accounts_are_made_once_and_changes_by_hand_are_taken_back(
    accounted: AccountedCluster, site: SlurmSite
) -> None:
    first = reconcile_accounts(NATION, "seoul", site)
    assert first.problems == ()
    assert reconcile_accounts(NATION, "seoul", site).told == ()
    assert listed(accounted, "dure-science") == "dure|18|gres/gpu:h100=24"
    where = ("where", "name=dure-science", "cluster=dure")
    accounted.run("sacctmgr", "-i", "modify", "account", *where, "set", "fairshare=99", "grptres=gres/gpu:h100=1")
    accounted.run("sacctmgr", "-i", "delete", "account", "name=dure-protein", "cluster=dure")
    healed = reconcile_accounts(NATION, "seoul", site)
    assert healed.problems == ()
    assert sorted(each[:2] for each in healed.told) == [("add", "account"), ("add", "user"), ("modify", "account")]
    assert listed(accounted, "dure-science") == "dure|18|gres/gpu:h100=24"
    assert reconcile_accounts(NATION, "seoul", site).told == ()


def test_a_limit_that_is_lifted_and_a_share_that_is_gone_are_gone_in_slurm(
    accounted: AccountedCluster, site: SlurmSite
) -> None:
    reconcile_accounts(NATION, "seoul", site)
    smaller = nation(share("science", guarantee=16, weight=2), organisations=(organisation("science", "science"),))
    assert reconcile_accounts(smaller, "seoul", site).problems == ()
    assert listed(accounted, "dure-science") == "dure|18|"
    assert listed(accounted, "dure-kaist") == ""
    assert reconcile_accounts(smaller, "seoul", site).told == ()


def test_the_first_job_of_a_new_project_waits_for_its_account_and_runs(
    accounted: AccountedCluster, site: SlurmSite, engine: Engine
) -> None:
    order = of_project("astronomy", launch("job.1", "true"))
    with pytest.raises(Exception, match="does not know the account dure-astronomy yet"):
        engine.executor.start(order)
    now = nation(share("snu"), organisations=(organisation("snu", "astronomy"),))
    with closing(AccountKeeper("seoul", site, lambda: now)):
        eventually(lambda: "dure-snu" in listed(accounted, "dure-astronomy"), "the account is made")
    assert engine.run(order).exit_code == 0


def test_a_limit_in_slurm_is_told_as_the_reason_why_a_job_waits(
    accounted: AccountedCluster, site: SlurmSite, engine: Engine
) -> None:
    small = nation(share("snu", limit=1), organisations=(organisation("snu", "protein"),))
    reconcile_accounts(small, "seoul", site)
    engine.executor.start(of_project("protein", launch("job.1", "true")))
    eventually(lambda: "limit" in engine.executor.waiting().get("job.1", ""), "it waits for its limit")
    reconcile_accounts(nation(share("snu"), organisations=small.organisations), "seoul", site)
    assert engine.ended("job.1").exit_code == 0


def test_slurms_books_agree_with_ours(accounted: AccountedCluster, site: SlurmSite, engine: Engine) -> None:
    since_ms = time.time_ns() // 1_000_000 - 1_000
    reconcile_accounts(NATION, "seoul", site)
    engine.executor.start(of_project("protein", launch("job.1", "sleep", "2", ranks=2)))
    engine.executor.start(of_project("climate", launch("job.2", "true")))
    engine.ended("job.1")
    engine.ended("job.2")
    ours = [held(engine, "job.1", gpus=4), held(engine, "job.2", gpus=2)]
    eventually(lambda: len(read_gpu_times(site, since_ms)) == 2, "Slurm's database has both jobs")
    slurms = read_gpu_times(site, since_ms)
    assert slurms["job.1"].gpus == 4
    assert slurms["job.1"].gpu_ms >= 4 * 2_000
    assert differences(ours, slurms) == []
    overcharged = [structs.replace(ours[0], gpu_ms=ours[0].gpu_ms + 4 * 60_000), ours[1]]
    assert [each.reason for each in differences(overcharged, slurms)] == ["the times differ"]


def held(engine: Engine, attempt_id: str, gpus: int) -> GpuTime:
    started, ended = (
        next(each.at_ms for each in engine.seen if each.attempt_id == attempt_id and isinstance(each, kind))
        for kind in (Started, Ended)
    )
    return gpu_time(attempt_id, gpus, gpus * (ended - started))


NATION_FILE = """
gpu_classes: {H100: {}}
sites:
  - {name: seoul, country: KR, owner: snu, engine: slurm,
     nodes: [{name: seoul, count: 4, gpus: "H100:8", cpus: 16, memory: 60GB}]}
organisations:
  - {name: snu, kind: university, country: KR, parent_country: KR, projects: [geology]}
shares:
  - {name: snu, guarantee: {H100: 32}}
"""
ENGINES_FILE = """
sites:
  seoul: {{engine: slurm, work_folder: {folder}/work, conf: {conf}, python: {python}, account_root: dure}}
"""


def reconciled(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dure.cli.main", "ledger", "reconcile", "seoul", "--state", str(folder / "state")]
    engines = ["--engines", str(folder / "engines.yaml")]
    return subprocess.run([*command, *engines, *options], capture_output=True, text=True)


def test_a_new_projects_first_job_is_charged_to_its_account_and_the_books_agree(
    accounted: AccountedCluster, tmp_path: Path
) -> None:
    (tmp_path / "engines.yaml").write_text(
        ENGINES_FILE.format(folder=tmp_path, conf=accounted.conf, python=sys.executable)
    )
    options = ["--engines", str(tmp_path / "engines.yaml")]
    with running_server(tmp_path / "state", options=options) as server, server.client() as client:
        client.put("/v1/nation", content=NATION_FILE, headers={"Content-Type": "application/yaml"}).raise_for_status()
        job = {"name": "train", "project": "geology", "gpus": "H100:8", "nodes": 2, "time": "1h", "command": ["true"]}
        name = client.post("/v1/jobs", json=job).json()["jobs"][0]
        eventually(lambda: state_of(server, name) == "succeeded", "the job succeeds")
    folder = tmp_path / "work" / "attempts" / f"{name}.1"
    fields = ["--format=Account,WorkDir", "--starttime=now-1hour"]
    eventually(
        lambda: f"dure-geology|{folder}" in accounted.run("sacct", "-nPX", *fields).splitlines(), "it is in the books"
    )
    agreed = reconciled(tmp_path)
    assert (agreed.returncode, agreed.stdout) == (0, "1 attempts compared, 0 differ\n"), agreed.stderr
    (tmp_path / "engines.yaml").write_text((tmp_path / "engines.yaml").read_text().replace("/work,", "/elsewhere,"))
    differ = reconciled(tmp_path, "--json")
    assert differ.returncode == 1
    assert [each["reason"] for each in json.loads(differ.stdout)["differences"]] == [
        "Slurm's database has no job of it"
    ]


def test_a_site_without_books_is_named(tmp_path: Path) -> None:
    (tmp_path / "engines.yaml").write_text("sites: {}\n")
    refused = reconciled(tmp_path)
    assert refused.returncode == 2
    assert "seoul is no site with Slurm" in refused.stderr
