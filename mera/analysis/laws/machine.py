"""Versions of the packages that mera needs, and devices, for bug reports."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, metadata, requires, version

import torch
from packaging.requirements import Requirement

from mera._utils.version import VERSION
from mera.analysis.laws.report import CheckReport

DISTRIBUTION = "mera-flow"
FOR_DEVELOPERS = {"benchmarks", "dev", "docs"}


def machine_report() -> CheckReport:
    """A report of this machine: a law for each package that mera needs, by its version, and rows of what there is.

    A package that an extra needs and that is missing is not checked; the row says how it is installed.
    """
    report = CheckReport(f"mera {VERSION}, Python {platform.python_version()}, {platform.platform()}")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    cores = f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    report.add("processor", True, cores)
    report.add("accelerators", True, ", ".join(devices) or "none")
    extras = sorted({*(metadata(DISTRIBUTION).get_all("Provides-Extra") or ())} - FOR_DEVELOPERS)
    for requirement in map(Requirement, requires(DISTRIBUTION) or ()):
        marker = requirement.marker
        extra = None if marker is None else next((e for e in extras if marker.evaluate({"extra": e})), "")
        if extra == "":
            continue
        name = f"{requirement.name} {requirement.specifier}"
        try:
            found = version(requirement.name)
            report.add(name, requirement.specifier.contains(found, prereleases=True), found)
        except PackageNotFoundError:
            missing = f"missing: pip install '{DISTRIBUTION}{'' if extra is None else f'[{extra}]'}'"
            report.add(name, False, missing) if extra is None else report.skip(name, missing)
    return report
