"""Each panel of each tile is multiplied once, with weights that the same thread has made."""

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import tirx

from tvm_sod2.schedules.kernel import Code, EvenBlocks, i64
from tvm_sod2.schedules.traits import host_target
from tvm_sod2.schedules.winograd_division import MOST_THREADS, Division, Share

ROWS, LEAST = 4, 6
TILES = (0, 1, 3, 4, 5, 11, 12, 13, 23, 24, 25, 47, 97, 200)


@cache
def _walk(panels: int, cores: int) -> Any:
    """Functions that make weights and that use them, and one for places and stripes.

    To make is to note the panel and the thread at a place; to use is to count, for each tile and
    panel, where that note is found, and 1000 where it is not.
    """
    tiles, begin, end = (tirx.Var(name, "int64") for name in ("tiles", "begin", "end"))
    places, size = tirx.Var("places", "int64"), tirx.Var("size", "int64")
    notes = tirx.decl_buffer([places], "int64", "notes")
    used = tirx.decl_buffer([tiles, i64(panels)], "int64", "used")
    numbers = tirx.decl_buffer([size], "int64", "numbers")
    division = Division.of(panels, cores, tiles, LEAST)

    def share(code: Code) -> tuple[Share, EvenBlocks]:
        stripes = code.slot(division.stripes, "stripes")
        blocks = EvenBlocks(code, tiles, ROWS, stripes)
        return Share.of(code, division, stripes, (begin, end)), blocks

    make = Code()
    mine, _ = share(make)
    with make.loop(mine.made, "p") as p:
        make.store(notes, mine.panel(p) + begin * i64(panels), mine.place + p)

    use = Code()
    mine, blocks = share(use)
    with use.loop(blocks.count, "t") as t:
        low, high = mine.panels(t, blocks)
        first, rows = blocks.locate(t)
        with use.loop(rows, "r") as r, use.loop(panels, "panel") as panel:

            def count() -> None:
                right = notes[mine.placed(panel)] == panel + begin * i64(panels)
                value = used[first + r, panel] + tirx.Select(right, i64(1), i64(1000))
                use.store(used, value, first + r, panel)

            use.branch([(tirx.all(panel >= low, panel < high), count)])

    tell = Code()
    tell.store(numbers, division.places, 0)
    tell.store(numbers, division.stripes, 1)
    tell.store(numbers, i64(division.threads), 2)
    funcs = {
        "make": tirx.PrimFunc([tiles, begin, end, notes], make.body()),
        "use": tirx.PrimFunc([tiles, begin, end, notes, used], use.body()),
        "tell": tirx.PrimFunc([tiles, numbers], tell.body()),
    }
    named = {name: func.with_attr({"global_symbol": name}) for name, func in funcs.items()}
    return tvm.compile(tvm.IRModule(named), host_target())


def _told(panels: int, cores: int, tiles: int) -> list[int]:
    """Places, stripes and parts."""
    numbers = tvm.runtime.tensor(np.zeros(3, np.int64))
    _walk(panels, cores)["tell"](tiles, numbers)
    return numbers.numpy().tolist()


@pytest.mark.parametrize("cores", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("panels", [1, 2, 3, 4, 7])
def test_all_is_done_once_whatever_the_threads(panels: int, cores: int) -> None:
    walk = _walk(panels, cores)
    for tiles in TILES:
        places, _, parts = _told(panels, cores, tiles)
        for threads in (1, 2, 3, 5, 8):
            step = -(-parts // threads)  # as TVM deals them out
            cuts = list(pairwise([*range(0, parts, step), parts]))
            notes = tvm.runtime.tensor(np.full(places, -1, np.int64))
            used = tvm.runtime.tensor(np.zeros((tiles, panels), np.int64))
            for cut in cuts:
                walk["make"](tiles, *cut, notes)
            for cut in cuts:
                walk["use"](tiles, *cut, notes, used)
            assert (used.numpy() == 1).all(), (tiles, threads)


@pytest.mark.parametrize(
    ("panels", "cores", "tiles", "places", "stripes"),
    [
        (4, 2, 11, 4, 1),  # two panels each
        (3, 2, 11, 4, 1),  # one is shared, and made twice
        (3, 2, 12, 6, 2),  # a stripe for each
        (1, 2, 11, 2, 1),
        (1, 1, 1000, 1, 1),
        (4, 8, 24, 4 * 4 + 7, 4),
        (2, 1000, 10**6, 2 * MOST_THREADS, MOST_THREADS),
    ],
)
def test_places_for_weights_follow_the_stripes(
    panels: int, cores: int, tiles: int, places: int, stripes: int
) -> None:
    assert _told(panels, cores, tiles) == [places, stripes, min(cores, MOST_THREADS)]


@pytest.mark.parametrize(("panels", "most"), [(1, 1.08), (2, 1.08), (3, 1.1), (7, 1.1)])
def test_two_threads_have_even_parts(panels: int, most: float) -> None:
    """Of the products of a tile and a panel, where there are some blocks of tiles."""
    walk = _walk(panels, 2)
    for tiles in (24, 25, 47, 97, 200):
        places, _, parts = _told(panels, 2, tiles)
        done = []
        for cut in ((0, 1), (1, parts)):
            notes = tvm.runtime.tensor(np.full(places, -1, np.int64))
            used = tvm.runtime.tensor(np.zeros((tiles, panels), np.int64))
            walk["make"](tiles, *cut, notes)
            walk["use"](tiles, *cut, notes, used)
            done.append(int(used.numpy().sum()))
        assert max(done) <= most * sum(done) / 2, (tiles, done)
