"""Segment a 12,000 x 9,000 photograph by the command line: seconds, and the peak memory of the process (Linux).

python benchmarks/large_image.py
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from _report import write_report

PHOTO = Path(__file__).parent.parent / "examples" / "photos" / "coffee.png"
WIDTH, HEIGHT = 12_000, 9_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "large.jpg"
        cv2.imwrite(str(photo), cv2.resize(cv2.imread(str(PHOTO)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
        command = ["segment", str(photo), "-o", folder, "--format", "npz", "--max-tokens", "200", "--overlay"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "subobject", *command], check=True)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"{seconds:.1f} s, {peak / 1e9:.2f} GB")
    payload = {"photo": PHOTO.name, "width": WIDTH, "height": HEIGHT, "seconds": round(seconds, 1), "peak_bytes": peak}
    write_report("large_image", payload)


if __name__ == "__main__":
    main()
