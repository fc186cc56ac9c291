"""Text to plain values: YAML without its surprises, and JSON.

In YAML every scalar stays the text that was written, so that Norway (`NO`) is a country, `04:00:00` a duration and
`1.10` a version; each field knows its own type. Only `null`, `~` and nothing at all are no value. Keys that appear
twice, aliases and tags are refused: none can be read in two ways, and no short text can unfold into a huge one.
"""

from __future__ import annotations

import msgspec
import yaml

from dure.intake.refusals import BadInput, Problem, shown

LARGEST_DOCUMENT = 4 * 1024 * 1024
"""Characters (or bytes) of a document."""
DEEPEST_DOCUMENT = 50
"""Mappings and lists inside one another."""

Value = str | int | float | bool | dict[str, "Value"] | list["Value"] | None

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NO_VALUE = {"", "~", "null", "Null", "NULL"}
_PLAIN_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}


def read_yaml(text: str) -> Value:
    """The values in a YAML document. Raises `BadInput` with line and column when it cannot be read."""
    _refuse_too_large(text)
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error.problem or "cannot be read", error.problem_mark) from None
    except (yaml.YAMLError, RecursionError, UnicodeError) as error:
        raise BadInput([Problem(field="", value="", message=f"not readable as YAML: {_first_line(error)}")]) from None
    if node is None:
        return None
    return _Reading().value(node, depth=0)


def read_json(body: bytes | str) -> Value:
    """The values in a JSON document. Raises `BadInput` when it cannot be read."""
    _refuse_too_large(body)
    try:
        value: Value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadInput([Problem(field="", value="", message=f"not readable as JSON: {_first_line(error)}")]) from None
    return value


class _Reading:
    """One walk over a document's nodes. It remembers which nodes it has seen: an alias is a node met twice."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, depth: int) -> Value:
        if id(node) in self._seen:
            raise _unreadable("anchors and aliases are not used here; write the value out", node.start_mark)
        self._seen.add(id(node))
        if depth > DEEPEST_DOCUMENT:
            raise _unreadable(f"nested deeper than {DEEPEST_DOCUMENT} levels", node.start_mark)
        if node.tag not in _PLAIN_TAGS:
            raise _unreadable(f"the tag {node.tag} is not used here; remove it", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, depth + 1) for each in node.value]
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NO_VALUE:
            return None
        text: str = node.value
        return text

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node, depth + 1)
            if not isinstance(key, str):
                raise _unreadable("a name is expected before the colon", key_node.start_mark)
            if key in mapping:
                raise _unreadable(f"{shown(key)} appears twice; keep one", key_node.start_mark)
            mapping[key] = self.value(value_node, depth + 1)
        return mapping


def _refuse_too_large(document: str | bytes) -> None:
    if len(document) > LARGEST_DOCUMENT:
        message = f"the document is larger than {LARGEST_DOCUMENT // 1024**2} MiB"
        raise BadInput([Problem(field="", value=f"{len(document)} characters", message=message)])


def _unreadable(message: str, mark: yaml.Mark | None) -> BadInput:
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return BadInput([Problem(field=where, value="", message=message)])


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
