"""The operations on data and agreements, as lines of the one table."""

from __future__ import annotations

from dure.api import agreements, datasets
from dure.api.bodies import JSON, YAML
from dure.api.operations import Operation, Parameter
from dure.control.access import Permission
from dure.control.oversight.agreement_requests import AgreementStands
from dure.reports.agreements import AgreementReport, AgreementsReport
from dure.reports.datasets import DatasetLine, DatasetsReport

READ, AGREE = Permission.READ, Permission.AGREE

SIDE = Parameter(
    name="organisation", description="The side it is offered for; the caller's own, or whose turn it is, unless given."
)

DATA_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/datasets",
        permission=READ,
        handler=datasets.listing,
        summary="List datasets",
        answer=DatasetsReport,
    ),
    Operation(
        method="GET",
        path="/v1/datasets/{dataset}",
        permission=READ,
        handler=datasets.one,
        summary="Show a dataset",
        answer=DatasetLine,
    ),
    Operation(
        method="GET",
        path="/v1/datasets/{dataset}/croissant",
        permission=READ,
        handler=datasets.as_croissant,
        summary="Describe a dataset as Croissant",
        answer_media_type=datasets.LD_JSON,
    ),
    Operation(
        method="GET",
        path="/v1/agreements",
        permission=READ,
        handler=agreements.listing,
        summary="List agreements",
        answer=AgreementsReport,
    ),
    Operation(
        method="POST",
        path="/v1/agreements",
        permission=AGREE,
        handler=agreements.offer,
        summary="Offer an agreement",
        bodies={YAML: None},
        parameters=(SIDE,),
        status=201,
        answer=AgreementStands,
    ),
    Operation(
        method="GET",
        path="/v1/agreements/{agreement}",
        permission=READ,
        handler=agreements.one,
        summary="Show an agreement and its use",
        answer=AgreementReport,
    ),
    Operation(
        method="GET",
        path="/v1/agreements/{agreement}/odrl",
        permission=READ,
        handler=agreements.odrl,
        summary="Export an agreement as ODRL",
        answer_media_type=agreements.LD_JSON,
    ),
    Operation(
        method="POST",
        path="/v1/agreements/{agreement}/counter",
        permission=AGREE,
        handler=agreements.counter,
        summary="Answer an offer with other terms",
        bodies={YAML: None},
        parameters=(SIDE,),
        answer=AgreementStands,
    ),
    Operation(
        method="POST",
        path="/v1/agreements/{agreement}/accept",
        permission=AGREE,
        handler=agreements.accept,
        summary="Accept an offer",
        bodies={JSON: agreements.Acceptance},
        answer=AgreementStands,
    ),
    Operation(
        method="POST",
        path="/v1/agreements/{agreement}/decline",
        permission=AGREE,
        handler=agreements.decline,
        summary="Decline an offer",
        bodies={JSON: agreements.Refusing},
        answer=AgreementStands,
    ),
    Operation(
        method="POST",
        path="/v1/agreements/{agreement}/end",
        permission=AGREE,
        handler=agreements.end,
        summary="End an agreement",
        bodies={JSON: agreements.Ending},
        answer=AgreementStands,
    ),
)
