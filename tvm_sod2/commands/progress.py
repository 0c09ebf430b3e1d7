"""What a build shows while it runs: a bar where rich and a terminal are there, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called before each phase with its name, its index from 0, and how many there are."""


@contextmanager
def shown(title: str) -> Iterator[Progress]:
    """A callback for ``build(progress=...)`` that reports on stderr for as long as it is open."""
    if sys.stderr.isatty():
        try:
            import rich.progress as rich_progress
        except ImportError:
            pass
        else:
            columns = (
                rich_progress.SpinnerColumn(),
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TimeElapsedColumn(),
            )
            from rich.console import Console

            with rich_progress.Progress(
                *columns, console=Console(stderr=True), transient=True
            ) as bar:
                task = bar.add_task(title, total=None)

                def advance(phase: str, index: int, total: int) -> None:
                    bar.update(task, description=f"{title}: {phase}", completed=index, total=total)

                yield advance
            return
    start = time.perf_counter()

    def line(phase: str, index: int, total: int) -> None:
        seconds = time.perf_counter() - start
        print(f"{title}: {index + 1}/{total} {phase} ({seconds:.1f} s)", file=sys.stderr)

    yield line
