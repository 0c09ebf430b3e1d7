#!/usr/bin/env python3
"""Fetches the models that tests, demo and benchmarks work with into a cache folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tvm_sod2.models import ModelFetchError, cache_folder, fetch, names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to fetch (default: all)")
    parser.add_argument("--dir", type=Path, default=None, help="folder (default: the cache)")
    parser.add_argument("--list", action="store_true", help="print the names known and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(names()))
        return 0
    folder = arguments.dir or cache_folder()
    failed = False
    for name in arguments.names or names():
        try:
            fetch(name, folder, lambda line: print(line, flush=True))
        except ModelFetchError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr)
    print(f"models are in {folder}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
