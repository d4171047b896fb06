"""Colors of several feeds, with rules and presets, as frames and into files of any size."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import commands
import feeds
import naive_colors
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench import findings, run_colors, run_colors_into
from workbench.errors import CredentialsError, DataError, UsageError

relaxed = settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
RULES = """
rules:
  - name: no valuations
    when: [{column: BIAS, operator: equal to, value: VALUATION}]
  - name: prices that cannot be
    when:
      - any:
          - {column: PX, operator: less than, value: 90}
          - {column: PX, operator: greater than, value: 101.5}
  - name: off
    active: false
    when: [{column: CUSIP, operator: is not null}]
  - name: nobody
    when: [{column: SOURCE, operator: equal to, value: NOBODY}]
"""


def is_excluded(row: dict[str, Any]) -> str | None:
    """Apply RULES by hand."""
    bias, px = row["BIAS"], row["PX"]
    if bias is not None and bias.strip().upper() == "VALUATION":
        return "no valuations"
    return "prices that cannot be" if px is not None and (px < 90 or px > 101.5) else None


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()


@relaxed
@given(rows=feeds.feeds(max_rows=60, extras=True), deduplicate=st.booleans())
def test_what_rules_remove_is_told_and_the_rest_ranks_as_a_plain_sort_does(
    project: Path, rows: list[dict[str, Any]], deduplicate: bool
) -> None:
    path = project / "desk.yaml"
    path.write_text(RULES)
    ranked = run_colors(feeds.frame(rows), rules=[str(path)], deduplicate=deduplicate)
    # A rule sees what is derived as well; these two columns never are.
    kept = [row for row in rows if is_excluded(row) is None]
    assert rows_of(ranked.colors) == naive_colors.rank(kept, deduplicate=deduplicate)
    reasons = [reason for row in rows if (reason := is_excluded(row))]
    assert sorted(ranked.excluded["EXCLUDED_BY"]) == sorted(reasons)
    assert ranked.rules["rule"].to_list() == [
        "no valuations", "prices that cannot be", "nobody"
    ]  # fmt: skip
    assert ranked.rules["removed"].to_list() == [
        reasons.count("no valuations"), reasons.count("prices that cannot be"), 0
    ]  # fmt: skip
    assert ranked.read == len(rows)


def test_a_preset_is_what_it_says_and_what_is_given_besides_wins(project: Path) -> None:
    (project / "params" / "presets").mkdir(parents=True)
    (project / "params" / "rules").mkdir()
    (project / "params" / "rules" / "desk.yaml").write_text(RULES)
    (project / "params" / "presets" / "mezz.yaml").write_text(
        "title: Mezzanine\nkeep: [{column: SECTOR, operator: contains, value: mezz}]\n"
        "rules: [desk]\norder: [date desc, price desc, rank asc]\ndeduplicate: true\n"
    )
    rows = feeds.feed(400)
    mine = [r for r in rows if "MEZZ" in r["SECTOR"].upper() and is_excluded(r) is None]
    order = ["date desc", "price desc", "rank asc"]
    ranked = run_colors(feeds.frame(rows), preset="mezz")
    assert ranked.preset is not None
    assert ranked.preset.title == "Mezzanine"
    assert rows_of(ranked.colors) == naive_colors.rank(mine, order, deduplicate=True)
    assert "SECTOR contains" in repr(ranked)
    other = run_colors(feeds.frame(rows), preset="mezz", order=["rank asc"], deduplicate=False)
    assert rows_of(other.colors) == naive_colors.rank(mine, ["rank asc"])


@pytest.mark.parametrize("until", [date(2026, 1, 9), "2026-01-09"])
def test_until_takes_the_feed_as_it_stood(until: Any) -> None:
    rows = feeds.feed(200)
    for number, row in enumerate(rows):
        row["DATE"] = date(2026, 1, 8 + number % 4)
    ranked = run_colors(feeds.frame(rows), until=until)
    kept = [row for row in rows if row["DATE"] <= date(2026, 1, 9)]
    assert rows_of(ranked.colors) == naive_colors.rank(kept)


def test_feeds_of_every_kind_are_merged_and_keep_their_origin(project: Path) -> None:
    rows = feeds.feed(300)
    parts = {"auto.parquet": rows[:100], "manual b[1].csv": rows[100:150], "late.xlsx": rows[150:]}
    feeds.write_parquet(parts["auto.parquet"], "auto.parquet")
    feeds.write_csv(parts["manual b[1].csv"], "manual b[1].csv")
    feeds.write_xlsx(parts["late.xlsx"], "late.xlsx")
    by_hand = feeds.frame(rows[:10])
    ranked = run_colors(["auto.parquet", "manual b[1].csv", "late.xlsx", by_hand])
    told = [dict(row, ORIGIN=name) for name, some in parts.items() for row in some]
    told += [dict(row, ORIGIN="data frame 4") for row in rows[:10]]
    assert rows_of(ranked.colors) == naive_colors.rank(told)
    twice = findings(ranked).filter(pl.col("finding") == "Same quote in several feeds")
    quotes = [tuple(v for k, v in row.items() if k not in naive_colors.COVERAGE) for row in rows]
    assert twice["rows"].item() >= 2 * len(set(quotes[:10]))
    once = run_colors(["auto.parquet", by_hand], deduplicate=True)
    assert once.colors.height == len(set(quotes[:100]))


def test_a_pattern_means_its_files_in_any_order(project: Path) -> None:
    rows = feeds.feed(120)
    for number in range(3):
        (project / f"day {number}").mkdir()
        feeds.write_parquet(rows[number::3], project / f"day {number}" / "feed.parquet")
        (project / f"day {number}" / "notes.txt").write_text("no feed")
    ranked = run_colors("day */feed.parquet")
    told = [dict(row, ORIGIN=f"day {n}/feed.parquet") for n in range(3) for row in rows[n::3]]
    assert rows_of(ranked.colors) == naive_colors.rank(told)
    assert rows_of(run_colors("**/*").colors) == naive_colors.rank(told)


def test_a_table_and_a_file_are_merged(project: Path) -> None:
    feeds.write_csv(feeds.feed(20), "manual.csv")
    ranked = run_colors(["marketpulse.colors", "manual.csv"], source="demo")
    alone = run_colors("marketpulse.colors", source="demo")
    counts = dict(ranked.colors["ORIGIN"].value_counts().iter_rows())
    assert counts == {"marketpulse.colors": alone.colors.height, "manual.csv": 20}


def test_feeds_that_cannot_be_merged_say_which_and_why(project: Path) -> None:
    good = feeds.write_csv(feeds.feed(5), "good.csv")
    Path("bad.csv").write_text("CUSIP,PX\n1,2\n")
    Path("dirty.csv").write_text(good.read_text().replace("2026-01-", "someday "))
    feeds.frame(feeds.feed(5)).with_columns(Origin=pl.lit("x")).write_parquet("o.parquet")
    for data, says in (
        (["good.csv", "bad.csv"], "bad.csv lacks the columns MESSAGE_ID"),
        (["good.csv", "dirty.csv"], "dirty.csv: column DATE"),
        (["good.csv", "o.parquet"], "o.parquet has a column ORIGIN"),
        (["good.csv", "gone.csv"], "The file gone.csv does not exist"),
        ("none*.csv", r"No file matches none\*.csv"),
    ):
        with pytest.raises(DataError, match=says):
            run_colors(data)
    for data, says in (([], "the list of feeds is empty"), (["good.csv"] * 2, "is there twice")):
        with pytest.raises(UsageError, match=says):
            run_colors(data)


@pytest.fixture(scope="module")
def bucket(moto: str) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", moto)
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        client = boto3.client("s3")
        place = {"LocationConstraint": "eu-west-1"}
        client.create_bucket(Bucket="desk", CreateBucketConfiguration=place)
        yield client
        client.close()


def test_feeds_in_s3_rank_as_files_do(bucket: Any, project: Path) -> None:
    rows = feeds.feed(60)
    feeds.write_parquet(rows[:30], "feed.parquet")
    feeds.write_csv(rows[30:], "feed.csv")
    bucket.upload_file("feed.parquet", "desk", "2026/a b/feed.parquet")
    bucket.upload_file("feed.csv", "desk", "2026/c/feed.csv")
    bucket.put_object(Bucket="desk", Key="2026/c/readme.txt", Body=b"no feed")
    one = run_colors("s3://desk/2026/a b/feed.parquet")
    assert rows_of(one.colors) == naive_colors.rank(rows[:30])
    urls = ["s3://desk/2026/a b/feed.parquet"] * 30 + ["s3://desk/2026/c/feed.csv"] * 30
    told = [dict(row, ORIGIN=url) for row, url in zip(rows, urls, strict=True)]
    assert rows_of(run_colors("s3://desk/2026/*/*").colors) == naive_colors.rank(told)
    with pytest.raises(DataError, match="There is no object"):
        run_colors("s3://desk/2026/*/x*")
    with pytest.raises(DataError, match=r"readme\.txt is not of a kind"):
        run_colors("s3://desk/2026/c/readme.txt")
    for url in ("s3://desk/2025/feed.parquet", "s3://gone/x.parquet"):
        with pytest.raises(CredentialsError, match=f"{url} does not exist"):
            run_colors(url)
    with pytest.raises(UsageError, match="names no object"):
        run_colors("s3://desk")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_file_of_ranked_colors_holds_what_the_frame_does(suffix: str, project: Path) -> None:
    rows = feeds.feed(500)
    for row in rows[:7]:
        row["CUSIP"] = " "
    Path("desk.yaml").write_text(RULES)
    feeds.write_parquet(rows, "feed.parquet")
    wish: dict[str, Any] = {"rules": ["./desk.yaml"], "deduplicate": True}
    written = run_colors_into(f"ranked.{suffix}", "feed.parquet", **wish)
    frame = run_colors("feed.parquet", **wish)
    left_out = f"ranked.left_out.{suffix}"
    if suffix == "parquet":
        assert pl.read_parquet("ranked.parquet").equals(frame.colors)
        beside = pl.read_parquet(left_out)
    else:
        read = pl.read_csv("ranked.csv", infer_schema=False)
        assert read["MESSAGE_ID"].cast(pl.Int64).to_list() == frame.colors["MESSAGE_ID"].to_list()
        beside = pl.read_csv(left_out)
    assert sorted(beside["EXCLUDED_BY"].drop_nulls()) == sorted(frame.excluded["EXCLUDED_BY"])
    nameless = sum(is_excluded(row) is None for row in rows[:7])
    assert beside["EXCLUDED_BY"].null_count() == frame.without_cusip.height == nameless > 0
    assert written.rules.equals(frame.rules)
    assert (written.read, written.rows, written.parents, written.repeats_removed) == (
        500, frame.colors.height, frame.parents.height, frame.repeats_removed
    )  # fmt: skip
    assert {path.name for path in project.iterdir()} == {
        "desk.yaml", "feed.parquet", f"ranked.{suffix}", left_out
    }  # fmt: skip


def test_a_database_ranks_into_a_file_too(project: Path) -> None:
    run_colors_into("ranked.parquet", "marketpulse.colors", source="demo")
    frame = run_colors("marketpulse.colors", source="demo").colors
    assert pl.read_parquet("ranked.parquet").equals(frame)


def test_a_refused_file_is_left_as_it_was(project: Path) -> None:
    feeds.write_csv(feeds.feed(30), "feed.csv")
    Path("ranked.csv").write_text("mine")
    Path("b.left_out.csv").write_text("mine")
    for name, data, says in (
        ("ranked.csv", "feed.csv", "exists already"),
        ("b.csv", "feed.csv", "b.left_out.csv exists already"),
        ("gone/ranked.csv", "feed.csv", "There is no folder gone"),
        ("ranked.txt", "feed.csv", "no suffix that names a format"),
    ):
        with pytest.raises(UsageError, match=says):
            run_colors_into(name, data)
    assert Path("ranked.csv").read_text() == Path("b.left_out.csv").read_text() == "mine"
    assert len(list(project.iterdir())) == 3


def test_more_rows_than_memory_are_ranked_with_the_disk(project: Path) -> None:
    """A sort of 300 MB, with 150 MB to do it in."""
    rows = feeds.feed(20_000)
    frame = feeds.frame(rows)
    copies = [frame.with_columns(CUSIP=pl.col("CUSIP") + str(n)) for n in range(25)]
    pl.concat(copies).write_parquet("feed.parquet")
    Path("workbench.toml").write_text(
        "[duckdb]\nmemory_limit = '150MB'\ntemp_directory = 'spill'\n"
    )
    code = (
        "import workbench as wb; print(wb.run_colors_into('ranked.parquet', 'feed.parquet').rows);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-800:]
    written, most = map(int, done.stdout.split())  # most: kB, of this process alone
    assert written == 500_000
    ranked = pl.scan_parquet("ranked.parquet")
    first = ranked.filter(
        pl.col("CUSIP").str.ends_with("7") & (pl.col("CUSIP").str.len_chars() == 10)
    )
    expected = naive_colors.rank([dict(r, CUSIP=f"{r['CUSIP']}7") for r in rows])
    found = first.filter(pl.col("CUSIP").is_in([r["CUSIP"] for r in expected])).collect()
    assert found["MESSAGE_ID"].to_list() == [row["MESSAGE_ID"] for row in expected]
    assert most * 1024 < 1e9
    assert not any(Path("spill").glob("*"))


def test_ctrl_c_leaves_the_old_file_and_nothing_else(project: Path) -> None:
    frame = feeds.frame(feeds.feed(20_000))
    pl.concat(
        [frame.with_columns(CUSIP=pl.col("CUSIP") + str(n)) for n in range(60)]
    ).write_parquet("feed.parquet")
    Path("ranked.parquet").write_text("mine")
    command = [Path(sys.executable).parent / "workbench", "colors", "feed.parquet", "--overwrite"]
    with subprocess.Popen(
        [*map(str, command), "-o", "ranked.parquet"], stderr=subprocess.PIPE, text=True
    ) as running:
        deadline = time.monotonic() + 60
        while not list(project.glob(".ranked.parquet.*")) and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(30) == 130
    assert Path("ranked.parquet").read_text() == "mine"
    assert {path.name for path in project.iterdir()} == {"feed.parquet", "ranked.parquet"}


def test_the_command_ranks_and_says_what_it_did(project: Path) -> None:
    feeds.write_csv(feeds.feed(40), "feed.csv")
    done = commands.command("colors", "feed.csv", "-o", "ranked.parquet", "--json")
    told = json.loads(done.stdout)
    assert (told["read"], told["rows"], told["left_out"]) == (40, 40, None)
    again = commands.command("colors", "feed.csv", "-o", "ranked.parquet")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    for words, code, says in (
        (["feed.csv", "--preset", "none"], 2, "Unknown preset 'none'"),
        (["feed.csv", "--order", "size"], 2, "order holds 'size'"),
        (["feed.csv", "--engine", "dask"], 2, "engine is auto or spark"),
        (["feed.csv", "--until", "soon"], 2, "until is a day"),
        (["gone.csv"], 1, "The file gone.csv does not exist"),
    ):
        done = commands.command("colors", *words, "-o", "other.parquet")
        assert done.returncode == code
        assert says in done.stderr
    assert not Path("other.parquet").exists()


def test_what_is_read_is_never_written_over(project: Path) -> None:
    feeds.write_parquet(feeds.feed(20), "feed.parquet")
    feeds.write_parquet(feeds.feed(20, seed=2), "ranked.left_out.parquet")
    before = {path.name: path.read_bytes() for path in project.iterdir()}
    for target, data in (
        ("feed.parquet", "feed.parquet"),
        ("feed.parquet", ["./feed.parquet", "ranked.left_out.parquet"]),
        ("ranked.parquet", "ranked.left_out.parquet"),
    ):
        with pytest.raises(UsageError, match="would be written, and is read"):
            run_colors_into(target, data, overwrite=True)
    assert {path.name: path.read_bytes() for path in project.iterdir()} == before


@pytest.mark.parametrize("name", ["out[1].parquet", "out*.parquet", "OUT.PARQUET", "o'u\"t.csv"])
def test_any_name_will_do_for_a_file(name: str, project: Path) -> None:
    feeds.write_parquet(feeds.feed(10), "out1.parquet")
    written = run_colors_into(name, feeds.frame(feeds.feed(30)))
    assert (written.rows, written.repeats_removed) == (30, 0)
    assert written.parents == len({row["CUSIP"] for row in feeds.feed(30)})


def test_a_left_out_file_that_cannot_be_written_leaves_both_as_they_were(project: Path) -> None:
    rows = [dict(row, note="short") for row in feeds.feed(10)]
    rows += [dict(rows[0], CUSIP=None, note="x" * 40_000)]
    for name in ("ranked.xlsx", "ranked.left_out.xlsx"):
        Path(name).write_text("mine")
    with pytest.raises(DataError, match="Excel holds 32,767 characters"):
        run_colors_into("ranked.xlsx", feeds.frame(rows), overwrite=True)
    assert {path.name: path.read_text() for path in project.iterdir()} == {
        "ranked.xlsx": "mine", "ranked.left_out.xlsx": "mine"
    }  # fmt: skip


def test_rows_without_a_cusip_are_never_repeats(project: Path) -> None:
    rows = feeds.feed(20)
    rows[0]["CUSIP"] = rows[1]["CUSIP"] = None
    frame = feeds.frame(rows * 2)
    ranked = run_colors(frame, deduplicate=True)
    written = run_colors_into("ranked.parquet", frame, deduplicate=True)
    assert ranked.without_cusip.height == written.without_cusip == 4
    assert ranked.repeats_removed == written.repeats_removed
    assert ranked.read == written.read == 40


def test_a_quiet_day_is_an_empty_ranking_and_no_date_is_no_loss() -> None:
    rows = feeds.feed(20)
    assert run_colors(feeds.frame(rows), sector=rows[0]["SECTOR"], until="2020-01-01").read == 0
    rows[0]["DATE"] = rows[0]["DATE_1"] = None
    assert run_colors(feeds.frame(rows), until=date.max).read == 20
    assert run_colors(feeds.frame(rows), until="2020-01-01").read == 1


def test_columns_of_different_types_are_merged_without_a_lost_digit() -> None:
    one = feeds.frame(feeds.feed(4)).with_columns(OID=pl.lit(2**60 + 1))
    other = feeds.frame(feeds.feed(4, seed=2)).with_columns(OID=pl.lit(1.5))
    ranked = run_colors([one, other])
    assert set(ranked.colors["OID"]) == {str(2**60 + 1), "1.5"}
    assert "Column of different types" in findings(ranked)["finding"].to_list()


def test_a_column_that_a_ranking_adds_is_refused() -> None:
    frame = feeds.frame(feeds.feed(4)).with_columns(excluded_by=pl.lit("me"))
    with pytest.raises(DataError, match="'excluded_by', which Run Colors adds"):
        run_colors(frame)


def test_one_file_by_two_spellings_is_one_file(project: Path) -> None:
    feeds.write_csv(feeds.feed(5), "a.csv")
    with pytest.raises(UsageError, match="is there twice"):
        run_colors(["a.csv", str(project / "a.csv")])
    Path("~$b.csv").write_text("locked")
    Path(".c.csv").write_text("hidden")
    assert run_colors("*.csv").read == 5


def test_a_thousand_rules_and_odd_ways_of_naming_them(project: Path) -> None:
    rule = "  - name: rule {0}\n    when: [{{column: PX, operator: equal to, value: {0}}}]\n"
    Path("many.yaml").write_text("rules:\n" + "".join(map(rule.format, range(1000))))
    rows = feeds.feed(5)
    rows[0]["PX"] = Decimal(999)
    ranked = run_colors(feeds.frame(rows), rules=Path("many.yaml"))
    assert ranked.excluded["EXCLUDED_BY"].to_list() == ["rule 999"]
    assert run_colors(feeds.frame(rows), rules=None).read == 5
    with pytest.raises(UsageError, match="rules is a list of names"):
        run_colors(feeds.frame(rows), rules=5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is no pattern of files"):
        run_colors("feeds/**.csv")
