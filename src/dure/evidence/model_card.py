"""The model card: a README in the form that the Hugging Face Hub shows, YAML in front and text behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import yaml

from dure.evidence.subject import Document, Subject
from dure.governance.compute import RecordedRange
from dure.governance.wording import NOT_LEGAL_ADVICE


def model_card(subject: Subject) -> str:
    """The card: what is for programs between `---` lines, then what is for people."""
    front = yaml.safe_dump(_metadata(subject), sort_keys=True, allow_unicode=True, default_flow_style=False)
    return f"---\n{front}---\n\n" + "\n".join(_text(subject)) + "\n"


def _metadata(subject: Subject) -> Document:
    making = subject.version.making
    metadata: Document = {"model_name": subject.name, "tags": ["dure"]}
    if sources := [*(str(each) for each in making.parents), *(each.name for each in making.bases)]:
        metadata["base_model"] = sources
    if subject.datasets:
        metadata["datasets"] = sorted(subject.datasets)
    results = [
        {
            "task": {"type": "other"},
            "dataset": {"type": each.dataset or "unnamed", "name": each.dataset or "unnamed"},
            "metrics": [{"type": name, "value": float(Decimal(value))} for name, value in each.metrics],
        }
        for each in subject.version.evaluations
    ]
    if results:
        metadata["model-index"] = [{"name": subject.name, "results": results}]
    return metadata


def _text(subject: Subject) -> Iterator[str]:
    version, compute = subject.version, subject.compute
    yield f"# {subject.name}\n"
    yield f"Written from the ledger of {subject.platform} on {subject.made_on}. State: {version.state.value}."
    if version.withdrawn_because:
        yield f"\n**Withdrawn: {version.withdrawn_because}**"
    for ancestor in subject.withdrawn_ancestors:
        yield f"\n**It descends from {ancestor}, which was withdrawn.**"
    yield "\n## Training\n"
    for run in version.making.jobs:
        data = ", ".join(use.dataset for use in run.data) or "none"
        yield f"- {run.job} at {', '.join(run.sites) or 'no site'}, purpose {run.purpose}, data: {data}"
    yield "\n## Training compute\n"
    yield f"- metered from hardware time: {_range(compute.own.measured)}"
    if compute.own.claimed:
        claimed = f"{Decimal(compute.own.claimed):.3g}"
        yield f"- claimed by its developer (6ND): {claimed} FLOP; comparison: {compute.own.comparison.value}"
    yield f"- with all that it was made from: {_range(compute.cumulative)}"
    for unknown in compute.own.unknown:
        yield f"- unknown: {unknown}"
    for line in compute.thresholds:
        yield f"- {line.threshold} FLOP ({', '.join(line.provisions)}): {line.standing.value}"
    yield "\n## Declared facts\n"
    yield from _listed(subject.facts)
    yield "\n## Evaluation\n"
    yield from _listed(version.metrics)
    yield f"\n{NOT_LEGAL_ADVICE.told('en')}"


def _listed(values: Mapping[str, object]) -> Iterator[str]:
    for name, value in sorted(values.items()):
        yield f"- {name}: {value}"
    if not values:
        yield "None."


def _range(flop: RecordedRange) -> str:
    most = f"{Decimal(flop.most):.3g}" if flop.most else "unknown"
    return f"{Decimal(flop.likely):.3g} FLOP ({Decimal(flop.least):.3g} to {most})"
