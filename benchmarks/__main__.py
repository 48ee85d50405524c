"""Run benchmarks and save the results.

    python -m benchmarks                     every one of them
    python -m benchmarks number_words sort   these
    python -m benchmarks --list              what there is

Results go to benchmarks/results.json (those of benchmarks that do not run now stay), the table to
benchmarks/README.md, and curves beside it as PNG files.
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
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds for the tasks")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--shakespeare", type=Path, help="path of tiny Shakespeare, if you have it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", metavar="PATTERN", help="zoo: which architectures, as task/name")
    parser.add_argument("--jobs", type=int, default=2, help="zoo: how many to run at once")
    parser.add_argument("--raw", type=Path, help="zoo: file for the results, one line of JSON each")
    parser.add_argument(
        "--resume", action="store_true", help="zoo: continue from the results in --raw"
    )
    parser.add_argument(
        "--travel", action="store_true", help="zoo: which architectures travel in a page as graphs"
    )
    parser.add_argument(
        "--browser", action="store_true", help="zoo: whether their pages agree in a real browser"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="zoo: with --resume, also repeat those that were not exact",
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"names must be among {', '.join(NAMES)}; got {', '.join(unknown)}")
    if options.list:
        for name in NAMES:
            first = (import_module(f"benchmarks.{name}").__doc__ or "").splitlines()[0]
            print(f"{name:18} {first}")
        return 0
    import torch

    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)  # fail before hours of work, not after
    results, failed = load(options.out), []
    for name in options.names or NAMES:
        print(f"— {name}", flush=True)
        try:
            rows = []
            for row in import_module(f"benchmarks.{name}").run(options):
                print(f"  {row.describe()}", flush=True)
                rows.append(row)
        except Exception:  # still run the others
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
        print(f"missed their bar: {', '.join(missed)}", file=sys.stderr)
    return 1 if failed or missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
