"""What a rank is told, and how an order travels: properties of pure functions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dure.executors.local import notices
from dure.executors.local.environment import USUAL_TERMS, marker, order_of, rank_environment
from dure.executors.local.limits import Limits
from dure.executors.local.order import Order
from dure.executors.local.processes import Entry
from dure.executors.local.sandbox import Sandboxes

from .engines import launch

BASE = {"PATH": "/bin", "HOME": "/root", "LANG": "C.UTF-8"}
OWN_NAMES = {
    "DURE_JOB_ID",
    "DURE_ATTEMPT",
    "DURE_ATTEMPT_ID",
    "DURE_SITE",
    "DURE_GPU_CLASS",
    "DURE_NODE",
    "DURE_GPUS",
    "DURE_CHECKPOINT_DIR",
    "DURE_OUTPUT",
    "DURE_NOTICE_FILE",
    "MASTER_ADDR",
    "NNODES",
    "NODE_RANK",
}
NAMES = st.sampled_from(sorted(OWN_NAMES | set(BASE) | {"CUDA_VISIBLE_DEVICES", "COLOUR", "TOKEN"}))
VALUES = st.text(st.characters(exclude_characters="\0"), max_size=20)
ENVIRONMENTS = st.dictionaries(NAMES, VALUES)


@given(env=ENVIRONMENTS, secret_env=ENVIRONMENTS, rank=st.integers(0, 2))
def test_a_job_sets_what_it_likes_except_where_and_who_it_is(
    env: dict[str, str], secret_env: dict[str, str], rank: int
) -> None:
    plain = rank_environment(launch("job.1", ranks=3), rank, "/folder", BASE)
    seen = rank_environment(launch("job.1", ranks=3, env=env, secret_env=secret_env), rank, "/folder", BASE)
    assert {name: seen[name] for name in OWN_NAMES} == {name: plain[name] for name in OWN_NAMES}
    wanted = {**plain, **env, **secret_env}
    assert {name: value for name, value in seen.items() if name not in OWN_NAMES} == {
        name: value for name, value in wanted.items() if name not in OWN_NAMES
    }


@given(env=ENVIRONMENTS)
def test_every_rank_carries_the_marker_by_which_orphans_are_found(env: dict[str, str]) -> None:
    order = order_of(launch("job.1", "true", ranks=2, env=env), "/folder", USUAL_TERMS, Sandboxes())
    for environment in order.environments:
        assert marker("/folder") in {f"{name}={value}" for name, value in environment.items()}


@given(argv=st.lists(VALUES, min_size=1), env=ENVIRONMENTS, workdir=VALUES)
def test_an_order_travels_as_one_line_and_arrives_unchanged(argv: list[str], env: dict[str, str], workdir: str) -> None:
    sent = Order("job.1", argv, workdir, "", [env], Limits(disk_bytes=7, time_ms=9), [argv], master_port=4)
    line = sent.as_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    received = Order.from_line(line)
    assert (received.argv, received.environments, received.workdir) == (argv, [env], workdir)
    assert received.limits.as_dict() == sent.limits.as_dict()
    assert received.as_line() == line


@given(program=st.text(st.characters(exclude_characters="\0\n"), max_size=15))
def test_no_program_name_confuses_the_process_table(program: str) -> None:
    found = Entry(42, f"42 ({program}) S 7 40 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 1")
    fields = (found.state, found.parent, found.group, found.session, found.start_ticks)
    assert fields == ("S", 7, 40, 41, 12345)


@given(problem=st.text(max_size=3_000))
def test_a_notice_fits_however_long_the_problem(problem: str) -> None:
    notice = notices.compose("j" * 200 + ".1", problem)
    assert len(notice) <= notices.LARGEST_NOTICE_BYTES
    attempt_id, understood = notices.understand(notice)
    assert attempt_id == "j" * 200 + ".1"
    assert problem.startswith(understood)
    assert bool(understood) == bool(problem)
