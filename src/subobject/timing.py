"""Seconds spent in each stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Add up wall-clock seconds by stage name.

    Example:
        >>> clock = Clock()
        >>> with clock.measure("read"):
        ...     pass
        >>> list(clock.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the duration of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
