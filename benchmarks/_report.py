"""What every benchmark writes: its figures, with where and how they were measured."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("subobject", "numpy", "numba", "opencv-contrib-python-headless", "onnxruntime", "openvino", "torch", "transformers")


def write_report(name: str, payload: dict[str, Any]) -> Path:
    """Write ``results/NAME.json``: the payload with commit, machine, command and versions; returns its path."""
    report = {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "command": _command(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "versions": {package: found for package in _PACKAGES if (found := _version(package)) is not None},
        **payload,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    return path


def _command() -> str:
    """Return the command line; of absolute paths only the last part, since the rest says nothing on another machine."""
    return " ".join(Path(word).name if Path(word).is_absolute() else word for word in ["python", *sys.argv])


def _commit() -> str | None:
    """Return the commit, with ``+changes`` where tracked files differ from it; None outside a checkout."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
        return subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
