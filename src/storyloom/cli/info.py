"""`storyloom info`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import storyloom
from storyloom.cli.output import print_json

if TYPE_CHECKING:
    from storyloom.runtime import Machine

GIGABYTE = 1e9


def info(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """What this machine is, and what training would choose on it."""
    found = storyloom.info()
    if as_json:
        print_json(asdict(found))
    else:
        typer.echo(describe(found))


def describe(found: Machine) -> str:
    """What was found, a line for each question."""
    lines = {
        "versions": ", ".join(f"{name} {number}" for name, number in found.versions.items()),
        "system": found.system,
        "processor": f"{found.processor}; PyTorch's own kernels use {found.cpu_capability}",
        "cores": _cores(found),
        "memory": _memory(found),
        "threads": f"{found.threads}, run by {found.openmp}",
        "device": f"{found.device}, of {', '.join(found.devices)}",
        "precision": f"{found.precision}: {found.why_precision}",
        "compiler": found.compiler or "none: training is not compiled",
        "environment": ", ".join(f"{name}={value}" for name, value in found.variables.items()) or "nothing set",
    }
    for name, extra in found.extras.items():
        versions = ", ".join(f"{package} {number}" for package, number in extra.versions.items())
        state = versions if extra.installed else "not installed"
        lines[name] = f"{state} ({extra.purpose})"
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name + ':':<{width}}{text}" for name, text in lines.items())


def _cores(found: Machine) -> str:
    physical = "an unknown number" if found.physical_cores is None else str(found.physical_cores)
    quota = "no CPU quota" if found.cpu_quota is None else f"a CPU quota of {found.cpu_quota:g}"
    return (
        f"{found.logical_cores} logical, of which this process may use {found.usable_cores} ({physical} physical), "
        f"with {quota}"
    )


def _memory(found: Machine) -> str:
    whole = "unknown" if found.memory is None else f"{found.memory / GIGABYTE:.1f} GB"
    return whole if found.memory_limit is None else f"{whole}, limited to {found.memory_limit / GIGABYTE:.1f} GB"
