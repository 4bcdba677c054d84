"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def facts() -> dict[str, Any]:
    """Returns processor, cores, memory, load, versions and date; call it before measuring, as measuring is a load."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "edgeadapt")},
        "onnxruntime": _version("onnxruntime") or _version("onnxruntime-gpu"),
        "onnxruntime_genai": _version("onnxruntime-genai"),
        "gpu": _gpu(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


@dataclass(frozen=True, slots=True)
class Ticks:
    """Processor time since the start, in seconds: of the machine, busy or not, and of this process and its children."""

    all: float
    busy: float
    own: float

    def others(self, before: Ticks) -> float | None:
        """Returns which share of the machine others took since `before`; None where the system doesn't tell."""
        if self.all == before.all:
            return None
        return max(0.0, (self.busy - before.busy - self.own + before.own) / (self.all - before.all))


def ticks() -> Ticks:
    """Returns the counters of now; what a hypervisor gave to other machines counts as busy."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return Ticks(0.0, 0.0, own)
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two already
    counts = [int(count) / os.sysconf("SC_CLK_TCK") for count in line.split()[1:9]]
    return Ticks(sum(counts), sum(counts) - counts[3] - counts[4], own)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    """Returns the GPU's name and its driver, or None where there is none."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("\n")[0] or None
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu() -> str:
    """Returns the processor's name; where a virtual machine hides it, with its family and model."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    lines = (line.partition(":") for line in text.splitlines())
    entries = {key.strip(): value.strip() for key, _, value in lines}
    name = entries.get("model name", platform.processor() or "unknown")
    if "cpu family" in entries and "model" in entries:
        name += f" (family {entries['cpu family']}, model {entries['model']})"
    return name


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
