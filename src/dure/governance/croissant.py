"""Datasets in Croissant, the JSON-LD vocabulary of MLCommons for machine-learning data.

Written against the Croissant specification 1.0 and its RAI extension 1.0. It describes and gives nothing away: a
dataset is computed on where it lies, so the addresses in it are names and no links. What the nation file does not say
(when the data was published, which fields its records have) is left out.
"""

from __future__ import annotations

from dure.model.datasets import PURPOSE_WORDING, Dataset
from dure.model.nation import Nation

Document = dict[str, object]

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
RAI_CONFORMS_TO = "http://mlcommons.org/croissant/RAI/1.0"

CONTEXT: Document = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification gives it, so that readers that compare contexts know it."""


def croissant(dataset: Dataset, nation: Nation) -> Document:
    """The dataset as a Croissant document."""
    name = f"urn:dure:dataset:{dataset.name}"
    owner = next((each for each in nation.organisations if each.name == dataset.owner), None)
    described: Document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": name,
        "conformsTo": [CONFORMS_TO, RAI_CONFORMS_TO],
        "name": dataset.name,
        "description": _description(dataset),
        "url": name,
        "license": f"{name}:terms",
        "conditionsOfAccess": f"Computed on where it lies, by agreement with {dataset.owner} or as its reader.",
        "isAccessibleForFree": False,
        "creator": {
            "@type": "sc:Organization",
            "@id": f"urn:dure:organisation:{dataset.owner}",
            "name": (owner.title_en if owner else "") or dataset.owner,
        },
        "keywords": [str(each) for each in dataset.classes],
        "spatialCoverage": dataset.jurisdiction,
        "rai:personalSensitiveInformation": [str(each) for each in dataset.classes],
        "rai:dataUseCases": [f"{each.value}: {PURPOSE_WORDING[each].en}" for each in dataset.purposes],
    }
    if dataset.title_ko:
        described["alternateName"] = {"@value": dataset.title_ko, "@language": "ko"}
    if dataset.size_bytes:
        described["size"] = f"{dataset.size_bytes} B"
    if dataset.digest:
        described["distribution"] = [_manifest(name, dataset)]
    return described


def _description(dataset: Dataset) -> str:
    title = dataset.title_en or dataset.name
    return f"{title}. Data of {dataset.owner} under the law of {dataset.jurisdiction}: {', '.join(dataset.classes)}."


def _manifest(name: str, dataset: Dataset) -> Document:
    """The content manifest stands for the files: it names each with its digest, and its own digest is the dataset's."""
    return {
        "@type": "cr:FileObject",
        "@id": "content-manifest",
        "name": "content-manifest",
        "description": "A line per file: SHA-256, size in bytes, path.",
        "contentUrl": f"{name}:manifest",
        "encodingFormat": "text/plain",
        "sha256": dataset.digest,
    }
