"""The watch over guarantees: it tells of every owner who is kept waiting, and of nobody who is promised nothing."""

from __future__ import annotations

import pytest

from dure.intake.nationfile import nation_from_document
from dure.model.events import (
    AnyEvent,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
    SiteContact,
    SiteContactChanged,
)
from dure.model.plan import Plan, Start
from tests.simulation.guarantee import GuaranteeWatch

SITES = ("seoul", "busan")
GPU = 1000
LONG_AFTER_MS = 3_600_000


def nation(guaranteed: int) -> NationApplied:
    """Two sites of four GPUs each, and one owner."""
    groups = [{"name": name, "count": 1, "gpus": "H100:4", "cpus": 64, "memory": "256GB"} for name in SITES]
    sites = [
        {"name": name, "country": "KR", "owner": "ministry", "nodes": [group]}
        for name, group in zip(SITES, groups, strict=True)
    ]
    document = {
        "gpu_classes": {"H100": {}},
        "sites": sites,
        "organisations": [{"name": "ministry", "kind": "government", "country": "KR", "projects": ["ministry-a"]}],
        "shares": [{"name": "ministry", "guarantee": {"H100": guaranteed}}],
    }
    return NationApplied(at_ms=0, by="platform", nation=nation_from_document(document))


def node(name: str, state: str) -> NodeChanged:
    return NodeChanged(at_ms=1, node=f"{name}-0000", state=state, by="platform")


def contact(site: str, contact: SiteContact) -> SiteContactChanged:
    return SiteContactChanged(at_ms=1, site=site, contact=contact)


JOB = JobSubmitted(
    at_ms=2,
    job="j1",
    project="ministry-a",
    by="t-1",
    commitment="",
    gpus=(("H100", GPU),),
    nodes=1,
    cpus=1,
    memory_mib=0,
    time_ms=60_000,
    within="site",
    priority=0,
    preemptible=True,
    checkpoint_every_ms=0,
    retry_limit=0,
    retry_backoff_ms=0,
    depends=(),
    data=(),
    purpose="",
    sites=SITES,
)


def missed(*events: AnyEvent) -> list[str]:
    watch = GuaranteeWatch()
    for event in (*events, JOB):
        watch.take_in(event)
    watch.look(LONG_AFTER_MS)
    return watch.missed


def test_an_owner_who_waits_though_enough_is_in_service_is_told_of() -> None:
    assert missed(nation(8)) == ["j1 still waits for a GPU that ministry is guaranteed"]
    assert missed(nation(4), node("seoul", "down"))
    assert missed(nation(4), contact("seoul", SiteContact.LOST))
    assert missed(nation(8), node("seoul", "drained"), node("seoul", "up"))


@pytest.mark.parametrize("state", ["cordoned", "drained", "down", "suspect"])
def test_nobody_is_promised_gpus_that_are_out_of_service(state: str) -> None:
    assert not missed(nation(5), node("seoul", state))
    assert not missed(nation(1), node("seoul", state), node("busan", state))


def test_nobody_is_promised_gpus_of_a_site_out_of_contact() -> None:
    assert not missed(nation(5), contact("seoul", SiteContact.LOST))
    assert missed(nation(5), contact("seoul", SiteContact.LOST), contact("seoul", SiteContact.CONNECTED))


def test_an_owner_who_got_its_gpu_in_time_is_counted_as_kept() -> None:
    watch = GuaranteeWatch()
    start = Start(job="j1", attempt=1, site="seoul", gpu_class="H100", placements=(), borrowed=False)
    for event in (nation(8), JOB, Planned(at_ms=2, plan=Plan(at_ms=2, decisions=(start,)))):
        watch.take_in(event)
    watch.look(LONG_AFTER_MS)
    assert (watch.kept, watch.missed) == (1, [])
