"""Peak dense floating-point operations a second of accelerators, by precision, as dated data with its source."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cache, partial
from importlib.resources import files

from msgspec import Struct

from dure.governance.facts import FLOP, read_number
from dure.governance.pack_reader import problems_in, read_check, read_source, read_version
from dure.governance.packs import Check, Mark, Source
from dure.intake.documents import read_yaml
from dure.intake.fields import GPU_CLASS as GPU_CLASS_NAME
from dure.intake.fields import Entry, Problems, inside, listing, mapping, matching, one_or_more, text
from dure.intake.refusals import did_you_mean

FILE = "accelerators.yaml"
MOST_DEVICES = 500

_NO_CHECK = Check(by="", on="", mark=Mark.MEMORY)
_FLOP_PER_SECOND_LEAST, _FLOP_PER_SECOND_MOST = 10**12, 10**17


class Precision(StrEnum):
    """The number format of most of the operations."""

    FP4 = "fp4"
    FP8 = "fp8"
    FP16 = "fp16"
    BF16 = "bf16"
    TF32 = "tf32"
    FP32 = "fp32"


class UnknownPeak(LookupError):
    """Nobody recorded how fast this GPU class is at this precision. The message says what is known."""


class Accelerator(Struct, frozen=True, kw_only=True):
    """One device. `peaks` are its dense floating-point operations a second, a multiply-add being two."""

    device: str
    gpu_classes: tuple[str, ...]
    peaks: dict[Precision, int]
    source: tuple[Source, ...]
    checked: Check


class Catalogue(Struct, frozen=True, kw_only=True):
    """All devices with a recorded peak."""

    version: str
    accelerators: tuple[Accelerator, ...]

    def find(self, gpu_class: str) -> Accelerator | None:
        """The device that a fleet's GPU class means, upper or lower case alike."""
        name = gpu_class.upper()
        return next((each for each in self.accelerators if name in each.gpu_classes), None)

    def peak_flop_per_s(self, gpu_class: str, precision: Precision) -> int:
        """Dense floating-point operations a second of one GPU. Raises `UnknownPeak`, because nothing is guessed."""
        device = self.find(gpu_class)
        if device is None:
            known = sorted(name for each in self.accelerators for name in each.gpu_classes)
            raise UnknownPeak(f"no peak is recorded for GPU class {gpu_class}; {did_you_mean(gpu_class, known)}")
        if precision not in device.peaks:
            raise UnknownPeak(f"no {precision} peak is recorded for {device.device}; known: {', '.join(device.peaks)}")
        return device.peaks[precision]


@cache
def shipped_catalogue() -> Catalogue:
    """The catalogue that comes with this version of Dure; read once."""
    return read_catalogue(FILE, files("dure.governance").joinpath("data", FILE).read_text("utf-8"))


def read_catalogue(file: str, document: str) -> Catalogue:
    """The catalogue in a YAML document. Raises `BadInput` with every problem, and the file it is in."""
    with problems_in(file):
        problems = Problems()
        entry = Entry(problems, "", read_yaml(document), ("version", "sources", "accelerators"))
        sources = entry.required("sources", _read_sources, "name the sources", dict[str, Source]())
        read_device = partial(_read_device, sources)
        read_devices = partial(listing, read=read_device, most=MOST_DEVICES)
        catalogue = Catalogue(
            version=entry.required("version", read_version, "write a version like 2026.11.1", ""),
            accelerators=tuple(entry.required("accelerators", read_devices, "list devices", list[Accelerator]())),
        )
        _refuse_a_class_in_two_devices(problems, catalogue.accelerators)
        problems.raise_if_any()
        return catalogue


def _read_sources(problems: Problems, field: str, value: object) -> dict[str, Source]:
    named = mapping(problems, field, value)
    return {name: read_source(problems, inside(field, name), each) for name, each in named.items()}


def _read_device(sources: dict[str, Source], problems: Problems, field: str, value: object) -> Accelerator:
    def read_source_name(problems: Problems, field: str, value: object) -> Source:
        if isinstance(value, str) and value in sources:
            return sources[value]
        problems.add(field, value, "is not a source of this file", did_you_mean(str(value), list(sources)))
        return Source(title="")

    entry = Entry(problems, field, value, ("device", "gpu_classes", "peaks", "source", "checked"))
    source = entry.required("source", read_source_name, "name a source of this file", Source(title=""))
    return Accelerator(
        device=entry.required("device", _line, "name the device", ""),
        gpu_classes=entry.required("gpu_classes", _read_classes, "list the classes that mean it", ()),
        peaks=entry.required("peaks", _read_peaks, "write the dense peak for each precision", {}),
        source=(source,),
        checked=entry.required("checked", read_check, "say by whom, on which day, with which mark", _NO_CHECK),
    )


def _read_classes(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    read_class = matching(GPU_CLASS_NAME, "must be the name of a GPU class")
    return tuple(name.upper() for name in one_or_more(problems, field, value, read_class, MOST_DEVICES))


def _read_peaks(problems: Problems, field: str, value: object) -> dict[Precision, int]:
    peaks = {}
    for name, each in mapping(problems, field, value).items():
        where = inside(field, name)
        if name not in set(Precision):
            problems.add_about_field(where, "is not a precision", did_you_mean(name, list(Precision)))
            continue
        peak = peaks[Precision(name)] = read_number(problems, where, each, FLOP)
        if not _FLOP_PER_SECOND_LEAST <= peak <= _FLOP_PER_SECOND_MOST:
            problems.add(where, each, "is not a peak of one accelerator", "write operations a second, like 989e12")
    return peaks


def _refuse_a_class_in_two_devices(problems: Problems, devices: Sequence[Accelerator]) -> None:
    seen: dict[str, str] = {}
    for device in devices:
        for name in device.gpu_classes:
            if name in seen:
                problems.add_about_field(device.device, f"GPU class {name} also means {seen[name]}", "keep one")
            seen[name] = device.device


def _line(problems: Problems, field: str, value: object) -> str:
    return text(problems, field, value, longest=100)
