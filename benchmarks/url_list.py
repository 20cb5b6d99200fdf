"""What planning 100,000,000 URLs takes, and reading ranges of them as workers do.

    python benchmarks/url_list.py FOLDER [--rows 100000000]

Five million rows (URL, caption, four more columns) are written once in large and once in small row
groups; twenty links to that file make the list. Every figure comes from a process of its own.
"""

import argparse
import gzip
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpcpipe.formats.listing import list_location
from hpcpipe.formats.url_list import UrlRange, plan_ranges
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.formats.url_list_read import UrlReader, list_file

COLUMNS = UrlColumns(url="URL", caption="TEXT", additional=("WIDTH", "HEIGHT"))
ROWS_PER_RANGE = 10_000
FILE_ROWS = 5_000_000
CHUNK_ROWS = 1_000_000
GROUPS = {"large": 1_000_000, "small": 1000}
NUM_STRIPES = 8
TEXT_ROWS = 1_000_000


def rows(first: int, num: int) -> Any:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    random = np.random.default_rng(first)

    def text(values: Any) -> Any:
        return pa.array(values).cast(pa.string())

    number = text(np.arange(first, first + num))
    host, name, word = (text(random.integers(0, top, num)) for top in (100_000, 1 << 62, 1 << 40))
    parts = ["https://images", host, ".example.com/uploads/", name, "/photo-", number, ".jpg", ""]
    caption = ["A photograph of number", number, "with", word, "things in it", " "]
    sizes = [pa.array(random.integers(1, 4000, num), pa.int32()) for _ in range(2)]
    return pa.table(
        {
            "SAMPLE_ID": np.arange(first, first + num),
            "URL": pc.binary_join_element_wise(*parts),
            "TEXT": pc.binary_join_element_wise(*caption),
            "WIDTH": sizes[0],
            "HEIGHT": sizes[1],
            "similarity": random.random(num),
        }
    )


def make_parquet(folder: Path, group_rows: int, num_rows: int) -> None:
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    file_rows = min(FILE_ROWS, num_rows)
    first = folder / "part-000.parquet"
    if not first.exists():
        temp = first.with_suffix(".temp")
        with pq.ParquetWriter(temp, rows(0, 1).schema) as writer:
            for start in range(0, file_rows, CHUNK_ROWS):
                table = rows(start, min(CHUNK_ROWS, file_rows - start))
                writer.write_table(table, row_group_size=group_rows)
        temp.rename(first)
    for number in range(1, num_rows // file_rows):
        path = folder / f"part-{number:03d}.parquet"
        path.unlink(missing_ok=True)
        os.link(first, path)


def make_text(folder: Path) -> list[Path]:
    import pyarrow as pa
    from pyarrow import csv

    folder.mkdir(parents=True, exist_ok=True)
    table = rows(0, TEXT_ROWS)
    out = pa.BufferOutputStream()
    csv.write_csv(table, out)
    urls = "\n".join(table.column("URL").to_pylist()).encode()
    objects = "\n".join(map(encode, table.to_pylist())).encode()
    files = {
        "list.txt": urls,
        "list.txt.gz": gzip.compress(urls, 6),
        "list.csv": out.getvalue().to_pybytes(),
        "list.json": b"[" + objects.replace(b"\n", b",\n") + b"]",
        "list.jsonl": objects,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def encode(row: dict[str, Any]) -> str:
    import msgspec

    return msgspec.json.encode(row).decode()


def memory_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def ranges_of(location: str, artifacts: str) -> Iterator[UrlRange]:
    inputs = list_location(location, (".parquet",))
    columns = COLUMNS
    if ".txt" in location:
        columns = UrlColumns(url="URL", caption=None, additional=())
    return plan_ranges(inputs, columns, ROWS_PER_RANGE, Path(artifacts).joinpath, lambda _: None)


def plan(location: str, artifacts: str) -> dict[str, float]:
    start = time.perf_counter()
    num_ranges = num_rows = 0
    for part in ranges_of(location, artifacts):
        num_ranges += 1
        num_rows += part.num_rows
    seconds = time.perf_counter() - start
    peak_mb = memory_mb("VmHWM")
    return {"rows": num_rows, "ranges": num_ranges, "s": seconds, "peak MB": peak_mb}


def read(location: str, every: int) -> dict[str, float]:
    """Every so many ranges of the list's first file, as one of so many workers reads them."""
    import pyarrow.parquet as pq

    first_file = str(Path(location) / "part-000.parquet")
    chosen = list(ranges_of(first_file, ""))[::every]
    wanted_bytes = wanted(pq.ParquetFile(first_file).metadata)
    before_mb = most_mb = memory_mb("RssAnon")
    start = time.perf_counter()
    num_rows = 0
    with UrlReader(COLUMNS) as reader:
        for part in chosen:
            file = list_file(part.inputs, part.meta, Path)
            for batch in reader.read(file, part.meta["first_row"], part.num_rows):
                num_rows += len(batch)
            most_mb = max(most_mb, memory_mb("RssAnon"))
        num_read = reader.num_read
    return {
        "rows": num_rows,
        "ms a range": (time.perf_counter() - start) * 1000 / len(chosen),
        "read / wanted columns of the file": num_read / wanted_bytes,
        "more anonymous MB": most_mb - before_mb,
    }


def wanted(metadata: Any) -> int:
    names = set(COLUMNS.source_names)
    columns = [
        metadata.row_group(group).column(index)
        for group in range(metadata.num_row_groups)
        for index in range(metadata.num_columns)
    ]
    return sum(one.total_compressed_size for one in columns if one.path_in_schema in names)


def measured(task: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """What a task finds in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def show(what: str, found: dict[str, float]) -> None:
    figures = ", ".join(f"{name} {value:,.10g}" for name, value in rounded(found).items())
    print(f"{what}: {figures}", flush=True)


def rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2 if value < 100 else 0) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000_000)
    options = parser.parse_args()
    for name, group_rows in GROUPS.items():
        folder = options.folder / name
        make_parquet(folder, group_rows, options.rows)
        show(f"plan, {name} row groups", measured(plan, str(folder), ""))
        for every in (1, NUM_STRIPES):
            show(f"one worker of {every}, {name} row groups", measured(read, str(folder), every))
    artifacts = options.folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    for path in make_text(options.folder / "text"):
        show(f"plan, {path.name}", measured(plan, str(path), str(artifacts)))


if __name__ == "__main__":
    main()
