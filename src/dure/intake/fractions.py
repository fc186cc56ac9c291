"""Which parts of a GPU a class offers: what the nation file says of it, how it is written back, and who is refused."""

from __future__ import annotations

from dure.intake.fields import Entry, Problems, gpu_count, listing, text
from dure.intake.refusals import did_you_mean
from dure.model.fleet import ANY_PART, GpuClass, PartsOffered
from dure.model.jobs import GpuRequest
from dure.model.mig import BOARDS, MigProfile, boards_of, profiles_of
from dure.model.units import WHOLE_GPU_MILLI, format_gpus

MOST_SIZES = 100


def parts_offered(problems: Problems, field: str, value: object) -> PartsOffered:
    """`{step: 0.1}` for all multiples of it, or a list of sizes; an empty list offers whole GPUs only."""
    if isinstance(value, list):
        sizes = listing(problems, field, value, _size, MOST_SIZES)
        return PartsOffered(step_milli=0, sizes_milli=tuple(sorted(set(sizes))))
    entry = Entry(problems, field, value, ("step",))
    step_milli = entry.required("step", _size, "write {step: 0.1}, or a list of sizes like [0.25, 0.5]", 1)
    return ANY_PART if step_milli == ANY_PART.step_milli else PartsOffered(step_milli=step_milli)


def _size(problems: Problems, field: str, value: object) -> int:
    before = len(problems.found)
    milli = gpu_count(problems, field, value)
    if len(problems.found) == before and not 0 < milli < WHOLE_GPU_MILLI:
        problems.add(field, value, "must be more than 0 and less than 1 GPU", "write [] to offer whole GPUs only")
    return milli


def mig_names(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    """Names of MIG profiles, each once; whether the class has them is for `mig_offered` to say."""
    names = listing(problems, field, value, text, MOST_SIZES)
    return tuple(dict.fromkeys(names))


def mig_offered(problems: Problems, field: str, gpu_class: str, names: tuple[str, ...]) -> tuple[MigProfile, ...]:
    """The profiles of these names on the board that a class's name stands for, smallest first."""
    boards = boards_of(gpu_class)
    if not boards:
        known = "call the class like one with MIG, such as " + ", ".join(BOARDS)
        problems.add(field, gpu_class, "no MIG profiles are known for this class", f"{known}; or remove mig")
        return ()
    unknown = [name for name in names if not any(name in BOARDS[board] for board in boards)]
    for name in unknown:
        every = list(dict.fromkeys(each for board in boards for each in BOARDS[board]))
        problems.add(field, name, f"{gpu_class} has no such MIG profile", did_you_mean(name, every))
    able = [board for board in boards if set(names) <= set(BOARDS[board])]
    if names and not unknown and len(able) != 1:
        message = "could be of more than one board" if able else "are not of one board"
        problems.add(field, ", ".join(names), message, f"call the class {' or '.join(able or boards)}")
    return tuple(each for each in profiles_of(able[0]) if each.name in names) if len(able) == 1 else ()


def fractions_document(gpu_class: GpuClass) -> dict[str, object]:
    """What the nation file says of a class's fractions; nothing where it goes without saying."""
    document: dict[str, object] = {}
    parts = gpu_class.parts
    if parts.step_milli == 0:
        document["fractions"] = [_gpus(milli) for milli in parts.sizes_milli]
    elif parts.step_milli != ANY_PART.step_milli:
        document["fractions"] = {"step": _gpus(parts.step_milli)}
    if gpu_class.mig:
        document["mig"] = [profile.name for profile in gpu_class.mig]
    return document


def _gpus(milli: int) -> float:
    return milli / WHOLE_GPU_MILLI


def describe_parts(parts: PartsOffered) -> str:
    """Which parts in thousandths are offered, in a few words."""
    if parts.step_milli == ANY_PART.step_milli:
        return "any part"
    if parts.step_milli:
        return f"multiples of {format_gpus(parts.step_milli)}"
    return ", ".join(format_gpus(milli) for milli in parts.sizes_milli) or "whole GPUs only"


def describe_mig(gpu_class: GpuClass) -> str:
    """The MIG profiles that are offered, by name."""
    return ", ".join(profile.name for profile in gpu_class.mig)


def as_offered(gpu_class: GpuClass | None, name: str, request: GpuRequest) -> GpuRequest:
    """What is asked for, of the class of this name; a MIG slice with what it counts, if the class offers it."""
    profile = gpu_class.mig_profile(request.profile) if gpu_class and request.profile else None
    milli = profile.milli if profile else request.milli
    return GpuRequest(gpu_class=name, milli=milli, profile=request.profile)


def why_not_offered(gpu_class: GpuClass, request: GpuRequest) -> str:
    """Why a class does not give this fraction of a GPU, and what it gives; empty when it does."""
    if request.profile:
        if gpu_class.mig_profile(request.profile):
            return ""
        offered = describe_mig(gpu_class) or "none at all"
        return f"{gpu_class.name} does not offer MIG profile {request.profile}; it offers {offered}"
    if request.milli >= WHOLE_GPU_MILLI or gpu_class.parts.include(request.milli):
        return ""
    asked = f"{gpu_class.name}:{format_gpus(request.milli)}"
    return f"{asked} is a part of a GPU that is not offered; {gpu_class.name} offers {describe_parts(gpu_class.parts)}"
