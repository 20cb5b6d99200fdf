import csv
import gzip
import io
import json
import random
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcpipe.errors import BadInputError, ConfigError, PlanError
from hpcpipe.formats import json_keys, url_list_convert, url_list_cursor, url_list_json
from hpcpipe.formats import url_list_lines as lines
from hpcpipe.formats.listing import list_location
from hpcpipe.formats.url_list import LIST_SUFFIXES, UrlRange, plan_ranges
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.formats.url_list_read import UrlReader, list_file
from hpcpipe.stage import Input

COLUMNS = UrlColumns(url="URL", caption="TEXT", additional=("id",))
ONLY_URL = UrlColumns(url="URL", caption=None, additional=())
ROWS = [(f"https://h{n % 7}.example/{n},a?b=c d", f'it\'s "n°{n}"\nhm', f"{n}") for n in range(50)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 100)
    monkeypatch.setattr(json_keys, "CHUNK_BYTES", 70)
    monkeypatch.setattr(url_list_json, "BATCH_NUM", 5)
    monkeypatch.setattr(url_list_cursor, "BATCH_ROWS", 4)
    monkeypatch.setattr(url_list_convert, "MIN_GROUP_ROWS", 6)
    monkeypatch.setattr(url_list_convert, "MAX_GROUP_ROWS", 12)


def as_csv(rows, delimiter=","):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["id", "URL", "TEXT", "unwanted"])
    writer.writerows((row[2], row[0], row[1], "x") for row in rows)
    return out.getvalue().encode()


def as_objects(rows):
    return [{"id": id, "n": [1], "TEXT": caption, "URL": url} for url, caption, id in rows]


def as_parquet(rows):
    out = io.BytesIO()
    names = ["URL", "TEXT", "id"]
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    pq.write_table(table.cast(pa.schema([(n, pa.string()) for n in names])), out, row_group_size=7)
    return out.getvalue()


WRITERS = {
    "csv": as_csv,
    "tsv": lambda rows: as_csv(rows, "\t"),
    "json": lambda rows: json.dumps(as_objects(rows), indent=1, ensure_ascii=False).encode(),
    "jsonl": lambda rows: "\n".join(map(json.dumps, as_objects(rows))).encode(),
    "parquet": as_parquet,
    "txt": lambda rows: "\n".join(row[0] for row in rows).encode(),
}


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


def no_artifact(name):
    """An earlier plan wrote nothing."""


def planned(location, artifacts, rows_per_range=10, columns=COLUMNS):
    inputs = list_location(location, LIST_SUFFIXES)
    return list(plan_ranges(inputs, columns, rows_per_range, artifacts.joinpath, no_artifact))


def read(reader, part: UrlRange, artifacts):
    file = list_file(part.inputs, part.meta, artifacts.joinpath)
    batches = list(reader.read(file, part.meta["first_row"], part.num_rows))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def read_all(ranges, artifacts, columns=COLUMNS):
    with UrlReader(columns) as reader:
        return [row for part in ranges for row in read(reader, part, artifacts)]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ANY_ROWS = st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=40)
PLENTY = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
@PLENTY
@given(rows=ANY_ROWS, size=st.integers(1, 45), packed=st.sampled_from(list(PACKERS)))
def test_the_ranges_of_any_rows_are_these_rows_once(tmp_path, kind, packed, rows, size):
    path = tmp_path / f"list.{kind}{packed if kind != 'parquet' else ''}"
    path.write_bytes((PACKERS[packed] if kind != "parquet" else bytes)(WRITERS[kind](rows)))
    ranges = planned(str(path), tmp_path, size)
    assert [part.num_rows for part in ranges[:-1]] == [size] * (len(ranges) - 1)
    assert read_all(ranges, tmp_path) == rows


@PLENTY
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=300),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.sampled_from(list(PACKERS)),
)
def test_txt_has_one_url_a_line_whatever_is_in_it(tmp_path, text, end, packed):
    text = text.replace(" ", "\n")
    path = tmp_path / f"list.txt{packed}"
    path.write_bytes(PACKERS[packed](text.replace("\n", end).encode()))
    urls = [line.strip(" \t\r\v\f") for line in text.removeprefix("\ufeff").split("\n")]
    expected = [(url,) for url in urls if url]
    if expected:
        ranges = planned(str(path), tmp_path, 3, ONLY_URL)
        assert read_all(ranges, tmp_path, ONLY_URL) == expected
    else:
        with pytest.raises(PlanError, match="no rows in"):
            planned(str(path), tmp_path, 3, ONLY_URL)


@PLENTY
@given(
    groups=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    cuts=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), max_size=12),
)
def test_a_reader_finds_any_ranges_in_any_order(tmp_path, groups, cuts):
    path = tmp_path / "list.parquet"
    total = sum(groups)
    urls = [f"https://example.com/{number}" for number in range(total)]
    with pq.ParquetWriter(path, pa.schema([("URL", pa.string())])) as writer:
        start = 0
        for size in groups:
            writer.write_table(pa.table({"URL": urls[start : start + size]}))
            start += size
    (file,) = list_location(str(path))
    with UrlReader(ONLY_URL) as reader:
        for first, num in cuts:
            first, num = first % total, min(num, total - first % total)
            batches = reader.read(file, first, num)
            if num % 3 == 0:
                next(batches)  # and leave it there
                batches.close()
                batches = reader.read(file, first, num)
            found = [url for batch in batches for url in batch.column("url").to_pylist()]
            assert found == urls[first : first + num]


def test_each_file_of_a_folder_is_cut_by_itself_and_keeps_its_artifact(tmp_path):
    folder, artifacts = tmp_path / "lists", tmp_path / "artifacts"
    folder.mkdir()
    artifacts.mkdir()
    (folder / "a2.csv").write_bytes(as_csv(ROWS[:13]))
    (folder / "a10.csv.gz").write_bytes(gzip.compress(as_csv(ROWS[13:])))
    (folder / "b.csv").write_bytes(as_csv([]))
    (folder / "c.csv").write_bytes(b"")
    (folder / "_SUCCESS").write_bytes(b"")
    ranges = planned(str(folder), artifacts)
    assert [(Path(part.file.path).name, part.num_rows) for part in ranges] == [
        *[("a2.csv", 10), ("a2.csv", 3)],
        *[("a10.csv.gz", n) for n in (10, 10, 10, 7)],
    ]
    assert read_all(ranges, artifacts) == ROWS
    assert {part.inputs for part in ranges} == {()}
    made = {path.name: path.read_bytes() for path in artifacts.iterdir()}
    assert made.keys() == {part.artifact for part in ranges}

    (folder / "a3.csv").write_bytes(as_csv(ROWS[:1]))
    more = planned([str(folder / "a*")], artifacts)
    assert set(ranges) < set(more)
    assert {name: (artifacts / name).read_bytes() for name in made} == made


def test_rows_with_long_captions_make_smaller_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(url_list_convert, "MAX_GROUP_BYTES", 20_000)
    rows = [(f"https://h/{n}", "x" * 8000, str(n)) for n in range(23)]
    (tmp_path / "a.jsonl").write_bytes(WRITERS["jsonl"](rows))
    ranges = planned(str(tmp_path / "a.jsonl"), tmp_path, 10)
    metadata = pq.read_metadata(tmp_path / ranges[0].meta["artifact"])
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [3, 3, 3, 1, 3, 3, 3, 1, 3]
    assert read_all(ranges, tmp_path) == rows


def test_row_groups_of_a_converted_list_end_where_ranges_end(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"https://example.com/{n}\n" for n in range(100)))
    sizes = {}
    for size in (2, 5, 10, 20):
        (artifact,) = {part.artifact for part in planned(str(path), tmp_path, size, ONLY_URL)}
        metadata = pq.ParquetFile(tmp_path / artifact).metadata
        sizes[size] = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes[2] == [6] * 16 + [4]
    assert sizes[5] == [5] * 20
    assert sizes[10] == [10] * 10
    assert sizes[20] == [12, 8] * 5


def test_parquet_keeps_types_nulls_and_rows_at_fault(tmp_path):
    path = tmp_path / "list.parquet"
    text = pa.array(["café", None, "", "x"])
    broken = pa.array([b"https://a/\xff", b"https://b", b"", None], pa.binary())
    table = pa.table(
        {
            "unwanted": pa.array([b"\xff"] * 4, pa.binary()),
            "URL": broken,
            "TEXT": text.dictionary_encode(),
            "WIDTH": pa.array([1, None, 3, 4], pa.int32()),
            "boxes": pa.array([[[0.5, 1.0]], None, [], [[]]], pa.list_(pa.list_(pa.float32()))),
            "license": pa.array(["?", "by", None, ""]).dictionary_encode(),
            "note": pa.Array.from_buffers(
                pa.string(), 4, pa.array([b"\xe9", b"b", b"", b"d"], pa.binary()).buffers()
            ),
            "seen": pa.array([0, 1, None, 3], pa.timestamp("ms")),
        }
    )
    pq.write_table(table, path)
    additional = ("WIDTH", "boxes", "license", "note", "seen")
    columns = UrlColumns(url="URL", caption="TEXT", additional=additional)
    (part,) = planned(str(path), tmp_path, 10, columns)
    with UrlReader(columns) as reader:
        (batch,) = reader.read(list_file(part.inputs, part.meta, tmp_path.joinpath), 0, 4)
    plain = {"license": pa.string()}
    assert batch.schema.names == ["url", "caption", *additional]
    assert batch.schema.types[:2] == [pa.string()] * 2
    assert batch.schema.types[2:] == [plain.get(n, table.schema.field(n).type) for n in additional]
    assert batch.column("url").to_pylist() == ["https://a/\ufffd", "https://b", "", None]
    assert batch.column("caption").to_pylist() == text.to_pylist()
    assert batch.column("note").to_pylist() == ["\ufffd", "b", "", "d"]
    for name in ("WIDTH", "boxes", "license", "seen"):
        assert batch.column(name).to_pylist() == table.column(name).to_pylist()


def test_values_of_json_that_are_no_strings_become_text(tmp_path):
    path = tmp_path / "list.jsonl"
    rows = [{"TEXT": "a"}, {"URL": None, "id": 1.5}, {"URL": "u", "id": [True, {"é": None}]}]
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows) + '{"id": NaN}')
    assert read_all(planned(str(path), tmp_path), tmp_path) == [
        (None, "a", None),
        (None, None, "1.5"),
        ("u", None, '[true, {"é": null}]'),
        (None, None, "NaN"),
    ]


@pytest.fixture
def large(tmp_path):
    """Rows whose groups are larger than ranges and larger than what is read at once."""
    path = tmp_path / "large.parquet"
    words = random.Random(0)
    urls = [f"https://example.com/{words.getrandbits(256):x}" for _ in range(120_000)]
    other = [words.randbytes(100) for _ in urls]
    table = pa.table({"other": other, "URL": urls})
    pq.write_table(table, path, row_group_size=60_000, use_dictionary=False, compression="none")
    column_bytes = pq.ParquetFile(path).metadata.row_group(0).column(1).total_compressed_size
    return SimpleNamespace(path=str(path), urls=urls, column_bytes=column_bytes)


@pytest.mark.parametrize("kind", ["local", "url"])
def test_ranges_in_order_read_every_wanted_page_once_and_no_other(large, kind, monkeypatch):
    import fsspec

    monkeypatch.setattr(url_list_cursor, "BATCH_ROWS", 4096)
    path = large.path
    if kind == "url":
        path = "memory://urls/large.parquet"
        fsspec.filesystem("memory").pipe("/urls/large.parquet", Path(large.path).read_bytes())
    ranges = list(plan_ranges(list_location(path), ONLY_URL, 10_000, Path, no_artifact))
    with UrlReader(ONLY_URL) as reader:
        found = [row[0] for part in ranges for row in read(reader, part, Path())]
        assert found == large.urls
        slack = 200_000 if kind == "local" else 8 * large.column_bytes  # blocks read ahead
        assert 2 * large.column_bytes < reader.num_read < 2 * large.column_bytes + slack
    if kind == "url":
        fsspec.filesystem("memory").rm("/urls", recursive=True)


def test_a_range_is_reached_without_reading_the_row_groups_before_it(large, monkeypatch):
    monkeypatch.setattr(url_list_cursor, "BATCH_ROWS", 4096)
    *_, part = plan_ranges(list_location(large.path), ONLY_URL, 60_000, Path, no_artifact)
    with UrlReader(ONLY_URL) as reader:
        assert [row[0] for row in read(reader, part, Path())] == large.urls[60_000:]
        assert reader.num_read < large.column_bytes + 200_000


def test_the_plan_reads_the_footers_of_parquet_only(large):
    with open(large.path, "r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 15_000_000)
    ranges = list(plan_ranges(list_location(large.path), ONLY_URL, 100_000, Path, no_artifact))
    assert [part.num_rows for part in ranges] == [100_000, 20_000]
    with (
        UrlReader(ONLY_URL) as reader,
        pytest.raises(BadInputError, match=r"large.parquet is not a sound parquet file"),
    ):
        read(reader, ranges[0], Path())


def test_a_reader_goes_on_after_a_fault_and_sees_new_content(tmp_path):
    path = tmp_path / "list.parquet"
    path.write_bytes(as_parquet(ROWS))
    (file,) = list_location(str(path))
    with UrlReader(COLUMNS) as reader:
        with pytest.raises(BadInputError, match="has 50 rows, and no 20 from row 40 on"):
            list(reader.read(file, 40, 20))
        assert sum(map(len, reader.read(file, 30, 20))) == 20
        path.unlink()
        path.write_bytes(as_parquet(ROWS[:7]))
        (file,) = list_location(str(path))
        assert [b.to_pylist()[0]["id"] for b in reader.read(file, 6, 1)] == ["6"]
        pq.write_table(pa.table({"URL": ["x"] * 9}), path)
        (file,) = list_location(str(path))
        with pytest.raises(BadInputError, match="has no column 'TEXT' any more"):
            list(reader.read(file, 0, 1))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"url,TEXT,id\n", "a.csv has no column 'URL' .stage.url_col.; it has url, "),
        ("a.csv", b"url,TEXT,id\n", "is 'url' meant"),
        ("a.csv", b"URL,URL,TEXT,id\n", "a.csv has two columns 'URL'"),
        ("a.csv", b"URL,TEXT,id\n1,2,3\n1,2\n", "a.csv: .*Row #3: Expected 3 columns, got 2"),
        ("a.csv", b"URL,TEXT,id\n1,2,3\n1,\xe9,3\n", "a.csv: .*Row #3: .*invalid UTF8"),
        ("a.tsv", b"URL,TEXT,id\n1,2,3\n", "a.tsv has no column 'URL'"),
        ("a.csv.gz", b"URL,TEXT,id\n1,2,3\n", "a.csv.gz is not a sound gzip file"),
        (
            "a.jsonl.zst",
            zstd(b'{"URL": "", "TEXT": "", "id": ""}\n' * 999)[:-4],
            "a.jsonl.zst is not a sound zstd file",
        ),
        ("a.jsonl", b'{"URL": "1", "TEXT": "", "id": ""}\n\n{"URL"', "line 3: not valid json"),
        ("a.jsonl", b'{"URL": "1"}\n', "no column 'TEXT' .stage.caption_col.; it has URL"),
        ("a.jsonl", b'["x"]\n', "line 1: expected an object, found list"),
        ("a.jsonl", b'{"URL": "1", "TEXT": "", "id": "\\ud83d"}\n', "no Unicode text"),
        ("a.json", b'{"URL": {"0": "x"}}', "expected a JSON list of objects"),
        ("a.json", b'[{"URL": "1", "TEXT": "", "id": ""}, 3]', "expected an object before"),
        ("a.json", b'[{"URL": "1", "TEXT": "", "id": ""}', "found the end"),
        ("a.txt", b"https://x\n", "one URL a line, has no column 'TEXT'"),
        ("a.parquet", b"PAR1 but no footer", "a.parquet is not a sound parquet file"),
        ("a.parquet", b"", "a.parquet is not a sound parquet file"),
        ("a.parquet.gz", b"", "parquet is compressed inside"),
        ("a.tar", b"", r"a.tar: a list of URLs ends in .txt, .csv"),
    ],
)
def test_a_list_at_fault_is_told_with_its_place(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlanError, match=says):
        planned(str(tmp_path / name), tmp_path)


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"https://example.com/aaa\n" * 20 + b"https://\xe9\n")
    with pytest.raises(PlanError, match=r"a.txt, line 21: byte 9 is not UTF-8 \(0xe9\).*iconv"):
        planned(str(tmp_path / "a.txt"), tmp_path, 10, ONLY_URL)


def test_lines_and_rows_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    monkeypatch.setattr("hpcpipe.formats.url_list_text.BLOCK_BYTES", 1 << 16)
    (tmp_path / "a.txt").write_bytes(b"x" * 2_000_000)
    with pytest.raises(PlanError, match=r"a.txt, line 1: longer than 1 MB"):
        planned(str(tmp_path / "a.txt"), tmp_path, 10, ONLY_URL)
    (tmp_path / "a.csv").write_bytes(b'URL\n"' + b"x\n" * 100_000)
    with pytest.raises(PlanError, match="is a quote left open"):
        planned(str(tmp_path / "a.csv"), tmp_path, 10, ONLY_URL)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.undo()  # pieces of the usual size
    monkeypatch.setattr("hpcpipe.formats.url_list_text.FREE_GZIP_BYTES", 1 << 20)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"https://example.com\n" * 500_000))
    with pytest.raises(PlanError, match="over 200 times its size: refused"):
        planned(str(tmp_path / "a.txt.gz"), tmp_path, 10, ONLY_URL)


def test_a_column_of_numbers_is_no_column_of_urls(tmp_path):
    pq.write_table(pa.table({"URL": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(PlanError, match="column 'URL' is int64, and should be text"):
        planned(str(tmp_path / "a.parquet"), tmp_path, 10, ONLY_URL)


def test_lists_of_two_formats_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(as_csv(ROWS))
    (tmp_path / "readme.txt").write_text("What this is\n")
    with pytest.raises(PlanError, match=r"a.csv is csv and .*readme.txt is txt: .* \*.csv"):
        planned(str(tmp_path), tmp_path)


def test_empty_lists_alone_are_nothing_to_do(tmp_path):
    pq.write_table(pa.table({"URL": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(PlanError, match=r"no rows in .*a.parquet"):
        planned(str(tmp_path / "a.parquet"), tmp_path, 10, ONLY_URL)


def test_a_list_that_vanished_is_told(tmp_path):
    gone = [Input(str(tmp_path / name), 9) for name in ("a.parquet", "b.txt")]
    for file in gone:
        with pytest.raises(PlanError, match=r"the list cannot be read: .* does not exist"):
            list(plan_ranges([file], ONLY_URL, 10, tmp_path.joinpath, no_artifact))


def test_one_column_cannot_be_asked_for_twice():
    with pytest.raises(ConfigError, match="column 'URL' is asked for twice"):
        UrlColumns(url="URL", caption=None, additional=("URL",))
    with pytest.raises(ConfigError, match="column 'caption' is asked for twice"):
        UrlColumns(url="URL", caption="TEXT", additional=("caption",))
