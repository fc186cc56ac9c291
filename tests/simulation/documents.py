"""The documents that people send: small nations, and jobs of every kind, as the text they would write."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

Document = dict[str, Any]

ORGANISATIONS = ("ministry", "hanbit", "narae", "gaon")
GPUS_PER_NODE = 4
DATASET = "scans"
SBATCH_WORDS = {"name", "project", "command", "time", "gpus", "nodes", "cpus"}
PURPOSES = ("research", "research", "commercial")


def nation_document(chance: random.Random) -> Document:
    """One to three sites, two to four organisations, and a share for each of them."""
    classes = ["H100", "B200"][: chance.randint(1, 2)]
    organisations = ORGANISATIONS[: chance.randint(2, 4)]
    sites = [_site(chance, number, classes[number % len(classes)]) for number in range(chance.randint(len(classes), 3))]
    gpus = {name: _gpus_of(sites, name) for name in classes}
    return {
        "gpu_classes": {name: {"mig": ["1g.10gb", "3g.40gb"]} if name == "H100" else {} for name in classes},
        "timing": {
            "protected": f"{chance.choice([0, 5, 20])}s",
            "warning": f"{chance.choice([1, 5, 10])}s",
            "grace": f"{chance.choice([1, 3, 10])}s",
            "backfill_reservations": chance.choice([1, 1, 3]),
            "suspect_after": chance.choice([0, 3]),
            "probation": "60s",
        },
        "sites": sites,
        "organisations": [
            {"name": name, "kind": "startup", "country": "KR", "projects": [f"{name}-{each}" for each in ("a", "b")]}
            for name in organisations
        ],
        "datasets": [_dataset(chance, sites, organisations)],
        "shares": [_share(chance, name, gpus, len(organisations)) for name in organisations],
    }


def _site(chance: random.Random, number: int, gpu_class: str) -> Document:
    count = chance.randint(1, 3)
    group = {"name": f"n{number}", "count": count, "gpus": f"{gpu_class}:{GPUS_PER_NODE}", "cpus": 64}
    return {
        "name": f"site{number}",
        "country": "KR",
        "owner": "ministry",
        "engine": chance.choice(["local", "local", "slurm", "ray"]),
        "nodes": [group | {"memory": "256GB"}],
    }


def _dataset(chance: random.Random, sites: list[Document], organisations: Sequence[str]) -> Document:
    """Data that may be read at some sites, by some, for research."""
    return {
        "name": DATASET,
        "owner": "ministry",
        "classes": ["pseudonymised"],
        "jurisdiction": "KR",
        "purposes": ["research"],
        "sites": [site["name"] for site in sites if chance.random() < 0.6] or [sites[0]["name"]],
        "readers": [name for name in organisations if chance.random() < 0.5],
    }


def _gpus_of(sites: list[Document], gpu_class: str) -> int:
    groups = [group for site in sites for group in site["nodes"]]
    return sum(int(group["count"]) * GPUS_PER_NODE for group in groups if group["gpus"].startswith(gpu_class))


def _share(chance: random.Random, name: str, gpus: dict[str, int], sharers: int) -> Document:
    guarantee = {each: chance.randint(0, total // sharers) for each, total in gpus.items()}
    share: Document = {"name": name, "guarantee": guarantee, "weight": chance.randint(1, 3)}
    if chance.random() < 0.3:
        share["limit"] = {each: max(guarantee[each], chance.randint(1, total)) for each, total in gpus.items()}
    if chance.random() < 0.2:
        share["lend"] = {each: chance.randint(0, most) for each, most in guarantee.items()}
    return share


def changed_nation(chance: random.Random, before: Document) -> Document:
    """The same nation with one thing changed that an operator might change; sometimes nonsense."""
    after: Document = json.loads(json.dumps(before))
    group = chance.choice(after["sites"])["nodes"][0]
    share = chance.choice(after["shares"])
    match chance.randrange(6):
        case 0:
            group["count"] = chance.randint(1, 4)
        case 1:
            share["weight"] = chance.randint(1, 5)
        case 2:
            share["guarantee"] = {name: chance.randint(0, 4) for name in share["guarantee"]}
        case 3:
            after["timing"]["grace"] = f"{chance.choice([1, 3, 10])}s"
        case 4:
            share["limit"] = {name: chance.randint(1, 8) for name in share["guarantee"]}
        case _:
            group["gpu"] = "nonsense"
    return after


def job_document(chance: random.Random, number: int, project: str, now_ms: int, jobs: list[str]) -> Document:
    """A job of any kind; most of them can run."""
    runs_s = chance.choice([0.2, 1, 3, 8, 20, 60])
    words = ["simulated", f"runs={runs_s}"]
    words += ["exit=1"] if chance.random() < 0.1 else []
    words += ["term=ignores"] if chance.random() < 0.25 else []
    words += ["warning=yields"] if chance.random() < 0.3 else []
    document: Document = {"name": f"job-{number}", "project": project, "command": words}
    document["time"] = f"{chance.choice([5, 30, 120, 600])}s"
    document |= _what_it_needs(chance)
    document |= _of_a_kind(chance)
    if "replicas" in document:
        del document["time"]
    elif chance.random() < 0.2:
        document["retry"] = {"limit": chance.randint(1, 3), "backoff": "1s"}
    document |= {"priority": chance.randint(0, 5)} if chance.random() < 0.2 else {}
    document |= {"data": DATASET, "purpose": chance.choice(PURPOSES)} if chance.random() < 0.15 else {}
    document |= {"secrets": ["TOKEN"]} if chance.random() < 0.05 else {}
    document |= {"preemptible": False} if chance.random() < 0.15 else {}
    document |= {"depends": [chance.choice(jobs)]} if jobs and chance.random() < 0.1 else {}
    document |= _dates(chance, now_ms) if chance.random() < 0.08 and "replicas" not in document else {}
    return document


def borrowing_job(chance: random.Random, number: int, project: str, gpu_class: str) -> Document:
    """A long job of those who take whatever is idle."""
    words = ["simulated", "runs=60"] + (["term=ignores"] if chance.random() < 0.25 else [])
    needs = {"gpus": f"{gpu_class}:{chance.choice([1, 1, 2, 4])}", "time": "600s"}
    return {"name": f"borrower-{number}", "project": project, "command": words} | needs


def owners_job(chance: random.Random, number: int, project: str, gpu_class: str) -> Document:
    """A short job of those who want one GPU of their own back."""
    words = ["simulated", f"runs={chance.choice([1, 3, 8])}"]
    needs = {"gpus": f"{gpu_class}:1", "time": "30s"}
    return {"name": f"owner-{number}", "project": project, "command": words} | needs


def _what_it_needs(chance: random.Random) -> Document:
    gpu_class = chance.choice(["H100", "H100", "B200", ""])
    match chance.randrange(10):
        case 0:
            return {"cpus": chance.randint(1, 8)}
        case 1:
            return {"gpus": f"{gpu_class}:{chance.choice(['0.5', '0.25'])}" if gpu_class else "0.5"}
        case 2:
            return {"gpus": f"H100:{chance.choice(['1g.10gb', '3g.40gb'])}"}
        case 3:
            return {"gpus": ["B200:2", "H100:2"]}
        case _:
            count = chance.choice([1, 1, 2, 4])
            return {"gpus": f"{gpu_class}:{count}" if gpu_class else str(count)}


def _of_a_kind(chance: random.Random) -> Document:
    match chance.randrange(14):
        case 0:
            return {"array": f"0-{chance.randint(0, 6)}"}
        case 1:
            return {"replicas": chance.randint(1, 3)}
        case 2:
            return {"nodes": 3, "min_nodes": 1, "gpus": "2", "checkpoint": {"every": "5s", "signal": "USR1"}}
        case 3 | 4:
            return {"nodes": chance.randint(2, 3), "gpus": str(chance.choice([1, 2, 4]))}
        case 5:
            return {"checkpoint": {"every": "5s", "signal": "USR1"}}
        case _:
            return {}


def _dates(chance: random.Random, now_ms: int) -> Document:
    name = chance.choice(["not_before", "not_after", "deadline"])
    at_s = now_ms // 1000 + chance.choice([-5, 5, 30, 120, 900])
    return {name: moment_text(at_s)}


def moment_text(at_s: int) -> str:
    """A moment as people write it."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def spoilt(chance: random.Random, document: Document) -> Document:
    """The document with something in it that cannot be right."""
    wrong = [("gpus", "H100:-1"), ("time", "90"), ("nodes", 0), ("comand", "x"), ("array", "9-1"), ("command", "")]
    wrong += [("project", "nobody"), ("gpus", "H9000:1"), ("depends", ["j99999"]), ("within", "moon"), ("nodes", 99)]
    name, value = chance.choice(wrong)
    return document | {name: value}


def as_text(chance: random.Random, document: Document) -> tuple[str, bytes]:
    """Media type and body, in one of the forms that are read."""
    if chance.random() < 0.2 and set(document) <= SBATCH_WORDS and isinstance(document.get("gpus", ""), str):
        return "text/x-shellscript", _as_script(document).encode()
    if chance.random() < 0.5:
        return "application/json", json.dumps(document).encode()
    return "application/yaml", yaml.safe_dump(document).encode()


def _as_script(document: Document) -> str:
    """The same job for those who come from Slurm. What it does is said in its text, where the engine finds it."""
    lines = ["#!/bin/bash", f"#SBATCH --job-name={document['name']}", f"#SBATCH --account={document['project']}"]
    lines += [f"#SBATCH --time=00:00:{document['time'][:-1]}"] if document.get("time", "").endswith("30s") else []
    lines += [f"#SBATCH --gpus-per-node={document['gpus']}"] if "gpus" in document else []
    lines += [f"#SBATCH --nodes={document['nodes']}"] if "nodes" in document else []
    lines += [f"#SBATCH --cpus-per-task={document['cpus']}"] if "cpus" in document else []
    return "\n".join([*lines, " ".join(document["command"]), ""])
