"""Puts bugs into the running platform, one at a time, and looks for a story that comes to grief.

`python -m tests.simulation.mutants` tries the whole list of `mutants.toml`, and says which seed finds each.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct

from dure.bootstrap import compile_everything, make_policy_set, prepare_compilation
from dure.policy import PolicySet

LIST = Path(__file__).with_name("mutants.toml")
SEEDS_TRIED = 60


class Mutant(Struct, frozen=True, kw_only=True):
    """A bug: in the source of `target` (`module:function`), `old` becomes `new`; `seed` is a story that finds it."""

    bug: str
    target: str
    old: str
    new: str
    seed: int


def mutants() -> list[Mutant]:
    """The whole list, in the order of the file."""
    return msgspec.convert(tomllib.loads(LIST.read_text("utf-8"))["mutant"], list[Mutant])


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The platform has the bug as long as this lasts."""
    module_name, _, path = mutant.target.partition(":")
    module = importlib.import_module(module_name)
    *owners, name = path.split(".")
    owner: Any = module
    for each in owners:
        owner = getattr(owner, each)
    original = inspect.getattr_static(owner, name)
    spoilt = _spoilt(original, mutant, module.__dict__)
    # Other modules may have the function under its name, too.
    users = [owner] if owners else [user for user in list(sys.modules.values()) if _has(user, name, original)]
    for user in users:
        setattr(user, name, spoilt)
    try:
        yield
    finally:
        for user in users:
            setattr(user, name, original)


def _has(module: object, name: str, function: object) -> bool:
    return str(getattr(module, "__name__", "")).startswith("dure") and getattr(module, name, None) is function


def _spoilt(original: Any, mutant: Mutant, names: dict[str, Any]) -> Any:
    function: Any = original.fget if isinstance(original, property) else inspect.unwrap(original)
    source = textwrap.dedent(inspect.getsource(function))
    old, new = textwrap.dedent(mutant.old), mutant.new
    assert source.count(old.strip()) == 1, f"{mutant.bug}: {mutant.old}"
    margin = source[: source.index(old.strip())].rpartition("\n")[2]
    is_line = not margin.strip()
    text = textwrap.indent(textwrap.dedent(new).strip("\n"), margin).strip() if is_line else new
    found: dict[str, Any] = {}
    code = compile(source.replace(old.strip(), text), mutant.target, "exec", __future__.annotations.compiler_flag, True)
    exec(code, dict(names), found)
    return found[function.__name__]


def seed_that_finds(mutant: Mutant, policy_set: PolicySet) -> int | None:
    """A seed whose story comes to grief: the remembered one, or another."""
    from tests.simulation.story import play

    with planted(mutant):
        seeds: list[int] = [mutant.seed, *range(SEEDS_TRIED)]
        for seed in seeds:
            with TemporaryDirectory() as folder:
                if play(seed, Path(folder), policy_set).problem:
                    return seed
    return None


def main() -> int:
    """Try all of them; 1 when one survives."""
    prepare_compilation()
    compile_everything()
    policy_set = make_policy_set()
    survivors = 0
    for mutant in mutants():
        seed = seed_that_finds(mutant, policy_set)
        survivors += seed is None
        print(f"{'SURVIVED' if seed is None else f'found by seed {seed}':<20} {mutant.bug}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
