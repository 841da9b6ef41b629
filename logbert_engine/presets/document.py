"""YAML with the place of every key and value, so that an error can name line and column."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from yaml.reader import ReaderError

from logbert_engine.protocol.errors import PresetError

KeyPath = tuple[str | int, ...]
"""Keys and indices from the top of a document to a value."""

_DEEPEST = 20
_LONGEST = 1 << 20
_INT = re.compile(r"^[-+]?[0-9](_?[0-9])*$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9](_?[0-9])*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_UNBOUNDED = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
_LINE_BREAKS = re.compile("[\r\n\x85\u2028\u2029]")
_INT_LIMIT = 1 << 63


@dataclass(frozen=True)
class Place:
    """A line and a column, both counted from 1."""

    line: int
    column: int


class _Loader(yaml.SafeLoader):
    """Plain values by the core schema of YAML 1.2.

    YAML 1.1, which PyYAML follows, takes ``2e-4`` for a text, ``no`` for false and ``1:30`` for ninety.
    Anchors and aliases are refused: presets need none, and a few of them can stand for gigabytes.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not supported; write the value out", event.start_mark
            )
        if self.depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, "the values are nested too deep", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_RESOLVERS = (
    ("tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", _INT, list("-+0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
    ("tag:yaml.org,2002:float", _UNBOUNDED, list("-+.")),
)
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


class Dumper(yaml.SafeDumper):
    """Writes what ``parse`` reads back unchanged: texts that either schema would take for something else
    are quoted, and lists stand on one line."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Every value is written out, since ``parse`` takes no aliases."""
        return True


for _tag, _pattern, _first in _RESOLVERS:
    Dumper.add_implicit_resolver(_tag, _pattern, _first)


def _flow_list(dumper: yaml.SafeDumper, data: list[Any] | tuple[Any, ...]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    # PyYAML loses these when it writes them unquoted or in single quotes
    style = '"' if _LINE_BREAKS.search(data) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


Dumper.add_representer(str, _text)
Dumper.add_representer(list, _flow_list)
Dumper.add_representer(tuple, _flow_list)


class Document:
    """A YAML document: its plain value, and where each part of it stands."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.value: Any = None
        self._values: dict[KeyPath, Place] = {}
        self._keys: dict[KeyPath, Place] = {}

    def place(self, path: KeyPath, *, on_key: bool = False) -> Place:
        """Where a value (or its key) stands; for one that is not written, the nearest part around it."""
        if on_key and path in self._keys:
            return self._keys[path]
        while path not in self._values and path:
            path = path[:-1]
        return self._values.get(path, Place(1, 1))

    def has(self, path: KeyPath) -> bool:
        """Whether a value is written in the document."""
        return path in self._values

    def error(self, place: Place, message: str) -> PresetError:
        """The message as a sentence with ``source:line:column`` before it."""
        return PresetError(f"{self.source}:{place.line}:{place.column}: {sentence(message)}")

    def read(self, node: yaml.Node, path: KeyPath = ()) -> Any:
        """The plain value of a node; remembers the places below it."""
        place = _place(node.start_mark)
        self._values[path] = place
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.read(child, (*path, i)) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        raise self.error(place, f"the tag {node.tag} is not supported; write the value without it")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(place, "a list or a group of keys cannot be a key; write a name there")
            key = self._whole(key_node.value, place)
            if key in value:
                first = self._keys[(*path, key)]
                name = show_path((*path, key))
                raise self.error(
                    place, f"{name} is given twice, first on line {first.line}; remove one of them"
                )
            self._keys[(*path, key)] = place
            value[key] = self.read(value_node, (*path, key))
        return value

    def _whole(self, text: str, place: Place) -> str:
        if not is_unicode(text):
            raise self.error(place, "half of a surrogate pair is no character; remove the escape")
        return text

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> str | int | float | bool | None:
        text: str = node.value
        match node.tag:
            case "tag:yaml.org,2002:str":
                return self._whole(text, place)
            case "tag:yaml.org,2002:null":
                return None
            case "tag:yaml.org,2002:bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "tag:yaml.org,2002:int" if _INT.match(text):
                digits = text.replace("_", "")
                number = int(digits) if len(digits) < 25 else _INT_LIMIT
                if abs(number) >= _INT_LIMIT:
                    raise self.error(place, f"{shorten(text)} is too large a number; write a smaller one")
                return number
            case "tag:yaml.org,2002:float" if _FLOAT.match(text) and math.isfinite(
                value := float(text.replace("_", ""))
            ):
                return value
            case "tag:yaml.org,2002:float":
                raise self.error(place, f"{shorten(text)} is not a finite number; write a finite one")
        raise self.error(place, f"the tag {node.tag} is not supported; write the value without it")


def parse(text: str | bytes, source: str) -> Document:
    """Read one YAML document.

    Args:
        text: the content; bytes must be UTF-8.
        source: what errors call it, such as the path of the file.

    Raises:
        PresetError: not UTF-8, not YAML, more than one document, a key given twice, an anchor; with
            ``source:line:column`` before the message.
    """
    document = Document(source)
    if len(text) > _LONGEST:
        raise document.error(Place(1, 1), f"longer than {_LONGEST >> 20} MiB; that is no preset")
    loader = _open(_decode(text, document), document)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(mark) if mark is not None else Place(1, 1)
        raise document.error(place, _syntax(error.problem or error.context or "not valid YAML")) from error
    except (ValueError, OverflowError) as error:  # an escape for a character that does not exist
        place = _place(loader.get_mark())
        raise document.error(place, "not valid YAML: an escape that no character has; remove it") from error
    finally:
        loader.dispose()
    if node is not None:
        document.value = document.read(node)
    return document


def _syntax(problem: str) -> str:
    if r"\t" in problem:
        return "not valid YAML: a tab where spaces belong; indent with spaces"
    if "not supported" in problem or "single document" in problem or "too deep" in problem:
        return problem
    return f"not valid YAML: {problem}; look at the indentation, colons and quotes around this place"


def _open(text: str, document: Document) -> _Loader:
    try:
        return _Loader(text)
    except ReaderError as error:
        place = _place_at(text, error.position)
        code = error.character if isinstance(error.character, int) else ord(str(error.character))
        raise document.error(
            place, f"the character U+{code:04X} is not allowed in YAML; remove it"
        ) from error


def _decode(text: str | bytes, document: Document) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8", "replace")
        place = _place_at(before, len(before))
        raise document.error(
            place, f"byte 0x{text[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error


def _place_at(text: str, position: int) -> Place:
    before = text[:position]
    return Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; names of files that are not UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def sentence(message: str) -> str:
    """The message with its full stop."""
    return message if message.endswith((".", "?")) else f"{message}."


def show_path(path: KeyPath) -> str:
    """A path as people write it: ``model.mask_ratio[1]``."""
    shown = ""
    for step in path:
        shown += f"[{step}]" if isinstance(step, int) else f".{step}" if shown else str(step)
    return shown or "the document"


def shorten(value: object, most: int = 60) -> str:
    """A value for an error message, in quotes where it is a text, cut where it is long."""
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = "".join(c if c.isprintable() else "�" for c in text)
    text = text if len(text) <= most else text[: most - 1] + "…"
    return f'"{text}"' if isinstance(value, str) else text


def no_file(path: object, error: Exception) -> NoReturn:
    """One sentence for a file that cannot be read.

    Raises:
        PresetError: always.
    """
    reason = getattr(error, "strerror", None) or str(error)
    raise PresetError(f"cannot read {shorten(str(path), 200)}: {reason}; check the path.") from error
