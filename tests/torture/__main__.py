"""The long form: ``python -m tests.torture --minutes 15 [--seed N] [--dir DIR]``."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.torture.torture import new_seed, torture

SHARDS_PER_MINUTE = 200


def main() -> int:
    """Torture; the folder is kept where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="how long the chaos goes on")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of a run")
    parser.add_argument("--dir", type=Path, default=None, help="a new folder for everything")
    args = parser.parse_args()
    seed = new_seed() if args.seed is None else args.seed
    folder = args.dir or Path(tempfile.mkdtemp(prefix="hpcpipe-torture-"))
    print(f"seed {seed}, in {folder}", flush=True)
    num_shards = int(SHARDS_PER_MINUTE * (1 + args.minutes))
    outcome = torture(
        folder, seed, 60 * args.minutes, num_shards, lambda line: print(line, flush=True)
    )
    for line in outcome.violations:
        print(f"VIOLATION {line}")
    print("\n| what | number |\n|---|---:|")
    for name, number in outcome.figures.items():
        print(f"| {name} | {number:,.0f} |")
    if outcome.violations:
        print(f"everything is kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
