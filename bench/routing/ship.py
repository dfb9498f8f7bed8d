"""`python -m bench.routing.ship --from DIR`: fits on a whole folder and writes the weights that ship.

With --check nothing is written: the fit is done again and compared with what is there. The version is a hash of the
content; on another machine the last bits of a fit may differ, so the largest difference is named too.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bench.routing.figures import ANCHORS
from bench.routing.fit import fit
from bench.routing.outcomes import load_folder
from bench.routing.pack import pack, save
from routing.selection.weights import WEIGHTS, version_of

# How much of a fitted difficulty holds for data sets that the fit has not seen: `python -m bench.routing --trust`.
TRUST = {"plain": 0.4, "tools": 0.4}


def make(folder: Path) -> dict[str, np.ndarray]:
    """Arrays of the weights file; on one thread, because more of them add up in another order."""
    ids = {row["name"]: row["id"] for row in json.loads(ANCHORS.read_text())["models"]}
    with threadpool_limits(1):
        return pack(fit(load_folder(folder)), ids, TRUST)


def main() -> int:
    """The exit code: 1 where --check finds other weights."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing.ship", description=__doc__)
    parser.add_argument("--from", dest="folder", type=Path, required=True, help="folder with outcome files")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    arrays = make(chosen.folder)
    version = version_of(arrays)
    if not chosen.check:
        save(arrays, chosen.out)
        print(f"{chosen.out}: version {version}, {chosen.out.stat().st_size:,} bytes")
        return 0
    with np.load(chosen.out, allow_pickle=False) as archive:
        there = {name: archive[name] for name in archive.files}
    same = version_of(there) == version
    print(f"{chosen.out}: version {version_of(there)}, made anew: {version}")
    for name in sorted(arrays.keys() & there.keys()):
        if arrays[name].dtype.kind in "fi" and arrays[name].shape == there[name].shape:
            difference = np.abs(arrays[name].astype(float) - there[name].astype(float)).max(initial=0)
            if difference:
                print(f"  {name}: differs by up to {difference:.3g}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
