"""Operations on datasets. To whoever may neither use one nor govern, it does not exist."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS
from dure.api.replies import not_done
from dure.control.requests import NotDoneCode
from dure.governance.croissant import croissant
from dure.reports.datasets import DatasetLine, DatasetsReport

LD_JSON = "application/ld+json"


async def listing(platform: Platform, call: Call) -> DatasetsReport:
    """The datasets that the caller's organisation owns, may read, or was offered; all of them for the programme."""
    return platform.datasets(call.caller.viewer)


async def one(platform: Platform, call: Call) -> DatasetLine:
    """One dataset: what the law calls it, what it may be used for, where its copies lie, and how to check them."""
    return _found(platform, call)


async def as_croissant(platform: Platform, call: Call) -> Response:
    """One dataset as a Croissant document (JSON-LD)."""
    document = croissant(_found(platform, call).dataset, platform.nation())
    return Response(msgspec.json.format(msgspec.json.encode(document)), 200, SECURITY_HEADERS, LD_JSON)


def _found(platform: Platform, call: Call) -> DatasetLine:
    name = call.path("dataset")
    found = next((each for each in platform.datasets(call.caller.viewer).datasets if each.dataset.name == name), None)
    if found is None:
        raise not_done(NotDoneCode.UNKNOWN_DATASET, f"There is no dataset {name}; `dure data list` shows yours.")
    return found
