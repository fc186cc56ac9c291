"""`dure twin run` as people type it: mistakes are named, and options do what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dure.cli.main import main
from dure.cli.twin import POLICIES
from dure.kernel.policies import POLICIES as KNOWN
from dure.twin.scenario import scenario_text
from tests.kernel.nations import TIMING, job, nation, share
from tests.kernel.story import Story


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DURE_TRACES", raising=False)
    (tmp_path / "headless.csv").write_text("a,b\n1,2\n")
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)))
    (tmp_path / "foreign.yaml").write_text("foo: 1\n")
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "two.csv").write_text("job_id,submit,duration,num_gpus\n1,0,60,8\n2,0,60,8\n")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["twin", "run", *arguments])


MISTAKES = {
    "--trace missing.csv": "missing.csv: expected a file",
    "--trace .": "Is a directory",
    "--trace headless.csv": "headless.csv, line 1",
    "--trace headless.csv --format philly": "timestamp, duration",
    "--trace noise.csv": "noise.csv: expected text in UTF-8",
    "--format philly": "name the trace with --trace",
    "--fleet 0x8": "write nodes x GPUs per node like 72x8",
    "--fleet 99999999x8": "at most 1,000,000 nodes",
    "--fleet 72x99": "at most 16 GPUs per node",
    "--fleet missing.yaml": "missing.yaml",
    "--fleet foreign.yaml": "foreign.yaml: foo: is not a known field",
    "--policy best": "'bestfit', 'fgd', 'dure'",
    "--seed -1": "--seed",
    "--span soon": "'soon' is not a duration; write it like 4h, 90s or 04:00:00",
    "--trace traces/two.csv --jobs 5": "nothing is generated; leave out --jobs",
    "--jobs 3": "3 jobs cannot make this load",
    "--repair 4h": "say with --node-mtbf how often nodes fail",
    "--node-mtbf 0s": "must be longer than nothing",
    "--faults missing.csv": "missing.csv: expected a file",
    "--faults headless.csv": "headless.csv, line 1",
    "--faults missing.csv --repair 4h": "leave out --node-mtbf and --repair",
    "--ledger nowhere/ledger --fleet 2x8 --trace traces/two.csv": "nowhere/ledger: cannot be used",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_2(typed: str) -> None:
    result = run(*typed.split())
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert MISTAKES[typed] in result.output


def test_a_folder_of_traces_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_TRACES", "elsewhere")
    result = run("--trace", "two.csv")
    assert result.exit_code == 2
    assert "DURE_TRACES names elsewhere" in result.output


def test_a_trace_is_found_in_the_folder_of_traces_and_its_ledger_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURE_TRACES", str(here / "traces"))
    result = run("--trace", "two.csv", "--fleet", "1x8", "--policy", "fifo", "--ledger", "entries", "--audit", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["jobs"], report["finished"], report["avg_jct_s"], report["avg_wait_s"]) == (2, 2, 90.0, 30.0)
    assert report["audit_violations"] == 0
    assert len((here / "entries").read_text().splitlines()) == report["ledger_entries"]


def test_failures_of_nodes_are_played_from_a_file(here: Path) -> None:
    """The only node is away from 30 s to 80 s: both jobs of a minute on it wait, and half a minute is lost."""
    (here / "faults.csv").write_text("node,down,up\ng0-0000,30,80\n")
    typed = ("--trace", "traces/two.csv", "--fleet", "1x8", "--faults", "faults.csv", "--audit", "--json")
    report = json.loads(run(*typed).stdout)
    assert (report["node_failures"], report["interrupted"], report["avg_restart_s"]) == (1, 1, 50.0)
    assert (report["makespan_s"], report["goodput_pct"], report["audit_violations"]) == (200.0, 80.0, 0)
    assert "failures as in faults.csv" in report["assumptions"]


def test_a_generated_workload_is_of_the_wanted_kind_and_its_nodes_fail() -> None:
    typed = ("--jobs", "200", "--span", "2d", "--load", "0.5", "--organisations", "3", "--fleet", "8x8")
    report = json.loads(run(*typed, "--node-mtbf", "24h", "--repair", "1h", "--json").stdout)
    assert report["finished"] == 200
    assert "200 jobs in 2d at load 0.5" in report["assumptions"]
    assert "each node fails once in 1d and is repaired in 1h" in report["assumptions"]
    assert report["node_failures"] > 0


def test_a_run_says_who_lent_to_whom(here: Path) -> None:
    # Both clusters are guaranteed a node; `alpha` uses both for an hour before `beta` comes.
    rows = ["timestamp,duration,num_gpus,gpu_time,cluster", *["2017-10-09 00:00:00,3600,8,28800,alpha"] * 2]
    rows.append("2017-10-09 02:00:00,7200,8,57600,beta")
    (here / "lend.csv").write_text("\n".join(rows) + "\n")
    typed = ("--trace", "lend.csv", "--format", "philly", "--fleet", "2x8")
    told = run(*typed, "--lending")
    assert told.exit_code == 0, told.output
    assert "promised: 1m30s from demand to GPUs, after a borrower's first 1m" in told.stdout
    (line,) = json.loads(run(*typed, "--lending", "--json").stdout)["lending"]["lines"]
    assert (line["lender"], line["borrower"], line["lent_gpu_hours"]) == ("beta", "alpha", 8.0)
    assert json.loads(run(*typed, "--json").stdout)["lending"] is None


def test_policies_are_those_that_the_kernel_knows() -> None:
    assert set(POLICIES) == set(KNOWN)


def test_a_policy_that_is_none_is_named(here: Path) -> None:
    result = CliRunner().invoke(main, ["twin", "compare", "--policies", "dure,best"])
    assert result.exit_code == 2
    assert "'best' is not a policy; choose from fifo" in result.output


def test_policies_are_compared_in_the_order_asked_for(here: Path) -> None:
    typed = ["twin", "compare", "--trace", "traces/two.csv", "--fleet", "1x8", "--policies", "dure,fifo,dure"]
    table = CliRunner().invoke(main, typed)
    assert table.exit_code == 0, table.output
    assert [line.split()[0] for line in table.stdout.splitlines()] == ["POLICY", "dure", "fifo"]
    reports = json.loads(CliRunner().invoke(main, [*typed, "--json"]).stdout)
    assert [(each["policy"], each["avg_wait_s"]) for each in reports] == [("dure", 30.0), ("fifo", 30.0)]


def test_a_scenario_is_played_again_and_every_decision_is_told(here: Path) -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("j", "guest", 8))
    story.wait(TIMING.protected_ms)
    story.submit(job("own", "owner", 8))
    (here / "scenario.yaml").write_text(scenario_text(story.steps))
    told = CliRunner().invoke(main, ["twin", "replay-scenario", "scenario.yaml"])
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        "           0 ms  j starts on s0-h100-0000 GPU 0,1,2,3,4,5,6,7, borrowed",
        "     600,000 ms  own claims on s0-h100-0000 GPU -",
        "     600,000 ms  j must yield to own by 660,000 ms",
        "3 decisions, no fault",
    ]
    listed = json.loads(CliRunner().invoke(main, ["twin", "replay-scenario", "scenario.yaml", "--json"]).stdout)
    assert [len(each["plan"]["decisions"]) for each in listed] == [1, 0, 2]


@pytest.mark.parametrize("file", ["missing.yaml", "foreign.yaml", "noise.csv"])
def test_what_is_no_scenario_is_a_message_and_exit_code_2(file: str) -> None:
    result = CliRunner().invoke(main, ["twin", "replay-scenario", file])
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert file in result.output
