"""The operations on the airlock, as they stand in the table of all operations."""

from __future__ import annotations

from dure.api import airlock
from dure.api.bodies import FORM, JSON
from dure.api.operations import Operation
from dure.control.access import Permission
from dure.control.oversight.result_requests import ResultsStand
from dure.reports.airlock import AirlockReport, ResultsReport

GOVERN = Permission.GOVERN

AIRLOCK_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/airlock",
        permission=GOVERN,
        handler=airlock.listing,
        summary="List jobs with results in the airlock",
        answer=AirlockReport,
    ),
    Operation(
        method="GET",
        path="/v1/airlock/{job}",
        permission=GOVERN,
        handler=airlock.one,
        summary="Show the results of a job in the airlock, and what was found out about them",
        answer=ResultsReport,
    ),
    Operation(
        method="GET",
        path="/v1/airlock/{job}/results/{number}",
        permission=GOVERN,
        handler=airlock.fetch,
        summary="Fetch a result in the airlock, to judge it",
        answer_media_type="application/octet-stream",
    ),
    Operation(
        method="POST",
        path="/v1/airlock/{job}/release",
        permission=GOVERN,
        handler=airlock.release,
        summary="Release results, or propose it where that takes two people",
        bodies={JSON: airlock.Decision},
        answer=ResultsStand,
    ),
    Operation(
        method="POST",
        path="/v1/airlock/{job}/refuse",
        permission=GOVERN,
        handler=airlock.refuse,
        summary="Refuse results for good",
        bodies={JSON: airlock.Decision},
        answer=ResultsStand,
    ),
    Operation(
        method="POST",
        path="/airlock/{job}/decision",
        permission=GOVERN,
        handler=airlock.decide,
        summary="Decide about results in the portal",
        bodies={FORM: None},
        status=303,
        answer_media_type="",
        is_form=True,
    ),
)
