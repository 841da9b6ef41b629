"""Findings about what is installed, beside what these programs ask for."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from logbert_engine.diagnosis.finding import Finding, notice, well, wrong

DISTRIBUTION = "logbert-tui"
_NEEDED = ("torch", "transformers", "numpy", "tokenizers", "safetensors", "msgspec")
"""Training imports them; without one of the others something else does not work."""


def required() -> tuple[str, list[str]]:
    """What these programs ask for: versions of Python, and of other packages. Empty where they are not installed."""
    try:
        ours = metadata.distribution(DISTRIBUTION)
        return str(ours.metadata.json.get("requires_python", "")), ours.requires or []
    except metadata.PackageNotFoundError:
        return "", []


def installed(requirements: Sequence[str]) -> dict[str, str]:
    """The versions that are there of what is asked for, and ours."""
    found = {"python": platform.python_version()}
    for name in (DISTRIBUTION, *(requirement.name for requirement in _parsed(requirements))):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def findings(python: str, requirements: Sequence[str], there: Mapping[str, str]) -> list[Finding]:
    """What is there, and what of it is missing or outside its range.

    Args:
        python: the range of its versions, ``>=3.11``.
        requirements: such as ``textual>=8.2,<9``; those of extras are left out.
        there: installed versions by name, with ``python``.
    """
    asked = _parsed(requirements)
    odd = [_odd("python", SpecifierSet(python), there)] + [
        _odd(each.name, each.specifier, there) for each in asked
    ]
    found = [finding for finding in odd if finding is not None]
    if DISTRIBUTION not in there:
        found.append(
            notice(f"{DISTRIBUTION} is not installed as a package", "Run: pip install . (in its folder)")
        )
    return [well(", ".join(f"{name} {told}" for name, told in there.items())), *found]


def _odd(name: str, wanted: SpecifierSet, there: Mapping[str, str]) -> Finding | None:
    version = there.get(name)
    if version is None:
        say = wrong if name in _NEEDED else notice
        return say(f"{name} is not installed", f'Run: pip install "{name}{wanted}"')
    try:
        fits = wanted.contains(Version(version), prereleases=True)
    except InvalidVersion:
        fits = False
    if fits:
        return None
    mend = (
        "Install this anew with another Python." if name == "python" else f'Run: pip install "{name}{wanted}"'
    )
    return notice(f"{name} {version} is outside {wanted}, so nobody has tried it", mend)


def _parsed(requirements: Sequence[str]) -> list[Requirement]:
    """Those that hold here, without extras."""
    found = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # ours are written by the build; a damaged line tells nothing
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(requirement)
    return found
