"""The same function over many tasks, in this process or on all cores."""

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Any


class Workers:
    """Processes that start when they are first needed and serve until the block ends.

    They are spawned, hence a script that uses more than one needs ``if __name__ == "__main__"``.

    Args:
        count: Processes; None for one a core. One means this process.

    Raises:
        ValueError: If the number is below 1.
    """

    def __init__(self, count: int | None = None):
        if count is not None and count < 1:
            raise ValueError(f"the number of workers is {count}: use 1 or more")
        self.count = count or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def map(self, function: Callable[..., Any], tasks: Iterable[tuple], advance: Callable[[], Any] = lambda: None) -> list[Any]:
        """Call ``function(*task)`` for every task and return the results in order.

        Args:
            function: Defined at the top of a module.
            tasks: Arguments; taken while earlier ones are at work.
            advance: Called once a task, from any thread.
        """
        if self.count == 1:
            results = []
            for task in tasks:
                results.append(function(*task))
                advance()
            return results
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.count, mp_context=multiprocessing.get_context("spawn"))
        futures = []
        for task in tasks:
            futures.append(self._pool.submit(function, *task))
            futures[-1].add_done_callback(lambda _: advance())
        return [future.result() for future in futures]
