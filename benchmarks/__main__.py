"""Run benchmarks and keep what they measured.

    python -m benchmarks                     every one of them
    python -m benchmarks number_words sort   these
    python -m benchmarks --list              what there is

Results go to benchmarks/results.json (those of benchmarks not run now stay), the table into
benchmarks/README.md, curves beside it as PNG.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two busy threads are slower than one here

import argparse
import sys
import traceback
from importlib import import_module
from pathlib import Path

from . import NAMES
from .report import load, write_results, write_table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=2, help="how many, for the tasks")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--shakespeare", type=Path, help="tiny Shakespeare, where it is here")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", metavar="PATTERN", help="of zoo: architectures, task/name")
    parser.add_argument("--jobs", type=int, default=2, help="of zoo: how many at once")
    parser.add_argument("--raw", type=Path, help="of zoo: its results, a line of JSON each")
    parser.add_argument("--resume", action="store_true", help="of zoo: go on with those in --raw")
    parser.add_argument("--again", action="store_true", help="… but do what was not exact again")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if options.list:
        for name in NAMES:
            first = (import_module(f"benchmarks.{name}").__doc__ or "").splitlines()[0]
            print(f"{name:18} {first}")
        return 0
    import torch

    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)  # before hours of work, and not after them
    results, failed = load(options.out), []
    for name in options.names or NAMES:
        print(f"— {name}", flush=True)
        try:
            rows = []
            for row in import_module(f"benchmarks.{name}").run(options):
                print(f"  {row.describe()}", flush=True)
                rows.append(row)
        except Exception:  # the others can still be measured
            traceback.print_exc()
            failed.append(name)
            continue
        results[name] = rows
        write_results(options.out, results, options)
    write_table(options.out, results)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    missed = [row.name for rows in results.values() for row in rows if row.holds is False]
    if missed:
        print(f"below their bar: {', '.join(missed)}", file=sys.stderr)
    return 1 if failed or missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
