"""Models over HTTP: from a training job to a bundle that is verified with the public key alone."""

from __future__ import annotations

import httpx

from dure.cli.client import Server
from dure.cli.mlflow import MlflowVersion
from dure.cli.model_importing import import_versions
from dure.cli.model_names import Named
from dure.evidence.verify import Keys, verify_bundle
from dure.ledger.keys import load_verifier_key
from tests.api.test_jobs import state, submit, until
from tests.control.server import ServerProcess

MODEL = "/v1/models/hanbit/chat-8b"


def test_a_model_goes_from_its_job_to_a_verified_bundle(
    server: ServerProcess, hanbit: httpx.Client, ministry: httpx.Client, auditor: httpx.Client
) -> None:
    job = submit(hanbit, trains="chat-8b", precision="bf16")
    until(lambda: state(hanbit, job) == "succeeded")
    assert hanbit.get(MODEL).json()["training"] == [job]
    made = hanbit.post(f"{MODEL}/versions", json={"jobs": [job], "code": "gitCommit:0123abcd"})
    assert made.json()["model"] == "hanbit/chat-8b@1", made.text
    shown = hanbit.get(f"{MODEL}/versions/latest").json()
    assert shown["making"]["jobs"][0]["precision"] == "bf16"
    assert "unknown" not in shown["compute"]["own"]
    assert auditor.get(f"{MODEL}/versions/1/assessment").json()["facts"]["modifies-a-model-of-others"] == "no"

    bundle = auditor.post(f"{MODEL}/versions/1/bundle")
    assert bundle.headers["content-type"] == "application/zip"
    verdict = verify_bundle(bundle.content, Keys(log=load_verifier_key(server.state / "ledger.pub")))
    assert verdict.faults == ()
    assert hanbit.get(f"{MODEL}/versions/1").json()["bundles"] == [verdict.digest]

    for path in (MODEL, f"{MODEL}/versions/1", f"{MODEL}/versions/1/lineage", f"{MODEL}/versions/1/assessment"):
        assert ministry.get(path).json()["code"] == "unknown-model"
    assert ministry.post(f"{MODEL}/versions/1/bundle").status_code == 404


def test_wrong_documents_are_refused_with_their_field(hanbit: httpx.Client) -> None:
    for body, field in (
        ({}, "jobs"),
        ({"jobs": ["x"]}, "jobs[0]"),
        ({"source": "s", "claim": {"parameters": 1, "tokens": 1, "active_parameters": 2}}, "claim.active_parameters"),
        ({"source": "s", "parents": ["chat"]}, "parents"),
        ({"source": "s", "bases": [{"name": "b", "flop": "lots"}]}, "bases.flop"),
        ({"source": "s", "utilisation": {"least_permille": 500, "most_permille": 400}}, "utilisation"),
    ):
        refused = hanbit.post(f"{MODEL}/versions", json=body)
        assert refused.status_code == 422, body
        assert refused.json()["problems"][0]["field"] == field


def test_what_another_registry_has_is_imported_once(server: ServerProcess, operator: httpx.Client) -> None:
    token = operator.post("/v1/tokens", json={"role": "member", "organisation": "hanbit"}).json()["text"]
    place = Named("hanbit", "imported", "latest")
    versions = [
        MlflowVersion(number=1, source="https://mlflow.example/#/models/A/versions/1", metrics={}, aliases=()),
        MlflowVersion(
            number=2,
            source="https://mlflow.example/#/models/A/versions/2",
            metrics={"mmlu": "0.71", "loss": "nan", "odd name!": "1.0"},
            aliases=("Champion",),
        ),
    ]
    client = Server(server.url, token)
    assert len(import_versions(client, place, versions)) == 2
    assert import_versions(client, place, versions) == []
    with server.client(token) as http:
        model = http.get("/v1/models/hanbit/imported").json()
        assert model["aliases"] == {"champion": 2}
        assert model["versions"][1]["metrics"] == {"mmlu": "0.71"}
        shown = http.get("/v1/models/hanbit/imported/versions/2").json()
    assert shown["compute"]["cumulative"]["most"] == "", "no job here made it, so nobody knows"
