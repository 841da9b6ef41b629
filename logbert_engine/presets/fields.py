"""What the declared types say of a setting: its keys, its type in words, its meaning, its JSON Schema."""

from __future__ import annotations

import ast
import difflib
import inspect as source_inspect
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from logbert_engine.presets import types
from logbert_engine.presets.document import KeyPath
from logbert_engine.presets.types import Preset


@cache
def type_of(struct: type[msgspec.Struct]) -> inspect.Type:
    """The declared type, as msgspec describes it."""
    return inspect.type_info(struct)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` where a known word is near, else the known words."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"the keys there are {', '.join(words)}" if words else "nothing can be set there"


def keys_of(declared: inspect.Type, value: object) -> list[str]:
    """The keys that a value of this type may have; of a model, those of its family."""
    struct = _struct_of(declared, value)
    if struct is None:
        return []
    tag = [struct.tag_field] if struct.tag_field else []
    return [*tag, *(field.encode_name for field in struct.fields)]


def type_at(declared: inspect.Type, value: object, path: KeyPath) -> inspect.Type | None:
    """The declared type at a path; None where nothing is declared.

    Args:
        declared: the type at the top.
        value: the plain value there; a model's ``family`` in it chooses between encoder and decoder.
        path: keys and indices below.
    """
    for step in path:
        found = _step(declared, value, step)
        if found is None:
            return None
        declared = found
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            value = None
    return declared


def _step(declared: inspect.Type, value: object, step: str | int) -> inspect.Type | None:
    if isinstance(step, int):
        if isinstance(declared, inspect.TupleType):
            return declared.item_types[step] if step < len(declared.item_types) else None
        return declared.item_type if isinstance(declared, inspect.VarTupleType | inspect.ListType) else None
    if isinstance(declared, inspect.DictType):
        return declared.value_type
    tags = _families(declared)
    if tags and step == tags[0].tag_field:
        return inspect.LiteralType(values=tuple(str(tag.tag) for tag in tags))
    struct = _struct_of(declared, value)
    fields = struct.fields if struct is not None else ()
    return next((field.type for field in fields if field.encode_name == step), None)


def _families(declared: inspect.Type) -> list[inspect.StructType]:
    members = declared.types if isinstance(declared, inspect.UnionType) else (declared,)
    return [m for m in members if isinstance(m, inspect.StructType) and m.tag_field]


def _struct_of(declared: inspect.Type, value: object) -> inspect.StructType | None:
    if isinstance(declared, inspect.StructType):
        return declared
    for struct in _families(declared):
        if isinstance(value, dict) and value.get(str(struct.tag_field)) == struct.tag:
            return struct
    return None


def is_text(declared: inspect.Type) -> bool:
    """Whether only a text (or nothing) can stand there."""
    if isinstance(declared, inspect.UnionType):
        return all(is_text(member) or isinstance(member, inspect.NoneType) for member in declared.types)
    if isinstance(declared, inspect.LiteralType):
        return all(isinstance(value, str) for value in declared.values)
    return isinstance(declared, inspect.StrType)


def may_be_null(declared: inspect.Type) -> bool:
    """Whether ``null`` can stand there."""
    return isinstance(declared, inspect.UnionType) and any(
        isinstance(member, inspect.NoneType) for member in declared.types
    )


def describe(declared: inspect.Type | None) -> str:
    """The type in words: "a whole number, at least 1"."""
    match declared:
        case inspect.IntType():
            return "a whole number" + _range(declared)
        case inspect.FloatType():
            return "a number" + _range(declared)
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType(pattern=str()):
            return "lower-case letters, digits and dashes"  # the one pattern there is: a preset's name
        case inspect.StrType():
            return "a text, in quotes where it looks like a number"
        case inspect.LiteralType(values=[only]) | inspect.LiteralType(values=(only,)):
            return str(only)
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(str(value) for value in values)
        case inspect.NoneType():
            return "null"
        case inspect.TupleType(item_types=items) if any(item != items[0] for item in items):
            return f"a list of {len(items)}: " + ", then ".join(describe(item) for item in items)
        case inspect.TupleType(item_types=items):
            return f"a list of {len(items)}, each {describe(items[0])}"
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return f"a list, each {describe(item)}"
        case inspect.UnionType(types=members) if not _families(declared):
            return " or ".join(describe(member) for member in members)
        case _:
            return "a group of keys"


def _range(number: inspect.IntType | inspect.FloatType) -> str:
    bounds = []
    for sign, bound in (
        ("above", number.gt),
        ("at least", number.ge),
        ("below", number.lt),
        ("at most", number.le),
    ):
        if bound is not None:
            bounds.append(f"{sign} {bound if isinstance(bound, int) else f'{bound:g}'}")
    return ", " + " and ".join(bounds) if bounds else ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a preset file, with each field's meaning as its description."""
    schema: dict[str, Any] = msgspec.json.schema(Preset)
    for name, definition in schema["$defs"].items():
        for field, meaning in meanings(name).items():
            definition["properties"][field].setdefault("description", meaning)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def meanings(struct: str) -> dict[str, str]:
    """Field to meaning, for a struct of ``presets.types``: the text below the field's declaration."""
    return _meanings().get(struct, {})


@cache
def _meanings() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source_inspect.getsource(types)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = found.setdefault(node.name, {})
        for declaration, text in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(declaration, ast.AnnAssign)
                and isinstance(declaration.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                fields[declaration.target.id] = source_inspect.cleandoc(str(text.value.value))
    return found
