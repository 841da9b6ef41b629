"""``logbert-engine doctor``: what this machine has, what is wrong, and how to mend it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logbert_engine.diagnosis.finding import Finding, Section
    from logbert_engine.hardware.disk import Disk
    from logbert_engine.hardware.torch_answer import TorchAnswer
    from logbert_engine.protocol.messages import Hardware

MARKS = {"well": "✓", "notice": "▲", "wrong": "✗", "mend": "→"}
_PLAIN_MARKS = {"well": "ok", "notice": "!!", "wrong": "XX", "mend": "->"}
_WIDEST = 110


class Report(msgspec.Struct, kw_only=True):
    """What ``--json`` prints."""

    usable: bool
    """Nothing is ``wrong``."""
    sections: list[Section]
    hardware: Hardware
    disk: Disk
    torch: TorchAnswer | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        help="where a run is to be kept, for the room and speed of its disk; default: here",
    )


def run(arguments: argparse.Namespace) -> int:
    """Look at everything and print it; 1 where something has to be mended first."""
    from logbert_engine.protocol.locations import given_path

    place = given_path(arguments.run_dir, "--run-dir") if arguments.run_dir is not None else Path.cwd()
    report = examine(place)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        print("\n".join(lines(report.sections, _columns(), _marks())))
    return 0 if report.usable else 1


def examine(place: Path) -> Report:
    """Probe the machine, ask torch, try the disk, greet the engine; takes some seconds.

    Raises:
        StorageError: a file system does not tell its free space.
    """
    import platform

    import logbert_engine
    from logbert_engine.diagnosis import disk, engine, machine, terminal, torch, versions
    from logbert_engine.diagnosis.finding import Section
    from logbert_engine.hardware.disk import try_out
    from logbert_engine.hardware.probe import probe
    from logbert_engine.hardware.processor import is_translated
    from logbert_engine.hardware.sources import Sources
    from logbert_engine.hardware.torch_ask import ask_torch
    from logbert_engine.protocol.errors import DeviceError

    sources = Sources()
    hardware, tried = probe(place, sources), try_out(place, sources)
    answer: TorchAnswer | None = None
    problem = ""
    try:
        answer = ask_torch(hardware)
    except DeviceError as error:
        problem = str(error)
    else:
        hardware = probe(place, sources)  # torch may have told what macOS recommends
    python, requirements = versions.required()
    sections = [
        Section(
            "Machine",
            machine.findings(
                hardware,
                translated=is_translated(sources),
                now=time.time(),
                written_at=Path(logbert_engine.__file__).stat().st_mtime,
            ),
        ),
        Section("GPUs", machine.gpus(hardware)),
        Section("Memory", machine.memory(hardware)),
        Section("Disk", disk.findings(tried)),
        Section("torch", torch.findings(hardware, answer or problem, os.environ, platform.mac_ver()[0])),
        Section("Engine", engine.findings(engine.look())),
        Section("Terminal", terminal.findings(os.environ, _size(), _encoding())),
        Section("Versions", versions.findings(python, requirements, versions.installed(requirements))),
    ]
    usable = not any(finding.state == "wrong" for section in sections for finding in section.findings)
    return Report(usable=usable, sections=sections, hardware=hardware, disk=tried, torch=answer)


def lines(sections: list[Section], columns: int, marks: dict[str, str]) -> Iterator[str]:
    """The sections as text: a marked line a finding, and below it how to mend it."""
    for number, section in enumerate(sections):
        if number:
            yield ""
        yield section.title
        for finding in section.findings:
            yield from _wrapped(finding.what, f"  {marks[finding.state]} ", columns)
            if finding.mend:
                yield from _wrapped(
                    finding.mend, " " * (3 + len(marks[finding.state])) + f"{marks['mend']} ", columns
                )
    yield ""
    yield from _wrapped(_sum([finding for section in sections for finding in section.findings]), "", columns)


def _sum(findings: list[Finding]) -> str:
    wrong, notices = (sum(finding.state == state for finding in findings) for state in ("wrong", "notice"))
    if wrong:
        return f"To be mended before training: {wrong}. To be looked at: {notices}."
    return f"Training can begin. To be looked at: {notices}." if notices else "All is well."


def _wrapped(text: str, first: str, columns: int) -> list[str]:
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _columns() -> int:
    return max(40, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))


def _marks() -> dict[str, str]:
    try:
        "".join(MARKS.values()).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        return _PLAIN_MARKS
    return MARKS


def _size() -> tuple[int, int] | None:
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return None
    return size.columns, size.lines


def _encoding() -> str:
    import locale

    return locale.getencoding()
