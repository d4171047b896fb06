"""The index over all runs: complete, in order, and never broken by what lies around."""

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from workbench.reporting.index import index_page, write_index
from workbench.reporting.runs import find_runs, is_alive

HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=1> \u202e&amp;"


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += "" if self.tags[-1:] in ([("style", {})], [("script", {})]) else data

    @property
    def links(self) -> list[str]:
        return [str(a["href"]) for tag, a in self.tags if tag == "a" and a["href"] != "#main"]


def add(root: Path, name: str, run_id: str, *, folder: str = "", **run: object) -> Path:
    place = root / (folder or name) / run_id
    place.mkdir(parents=True)
    content = {"name": name, "run_id": run_id, "status": "passed", **run}
    (place / "run.json").write_text(json.dumps(content), "utf-8")
    (place / "report.html").write_text("report")
    return place


def test_an_empty_root_says_so_and_how_to_make_a_run(tmp_path: Path) -> None:
    page = Page(write_index(tmp_path / "reports"))
    assert "No runs yet" in page.text
    assert "workbench run run_colors" in page.text


def test_runs_are_listed_newest_first_with_what_matters(tmp_path: Path) -> None:
    figures = [{"name": f"f{i}", "value": 1000 * i, "unit": "rows"} for i in range(1, 5)]
    add(tmp_path, "a", "r1", started="2026-11-20T06:00:00Z", figures=figures, duration=64)
    add(tmp_path, "b", "r2", started="2026-11-21T08:30:00+02:00", as_of="2026-11-20")
    add(tmp_path, "a", "r3", started="2026-11-21T06:00:00Z", status="error")
    page = Page(write_index(tmp_path))
    runs = page.text[page.text.index("All runs") :]
    assert runs.index("21 Nov 2026, 06:30 UTC") < runs.index("21 Nov 2026, 06:00 UTC")
    assert runs.index("21 Nov 2026, 06:00 UTC") < runs.index("20 Nov 2026, 06:00 UTC")
    for part in ("f1: 1,000 rows; f2: 2,000 rows", "1 min 4 s", "✕ Failed", "20 November 2026"):
        assert part in runs
    assert "f4" not in runs
    assert "3 runs of 2 names" in page.text


def test_the_latest_good_run_of_every_name_is_linked(tmp_path: Path) -> None:
    add(tmp_path, "a", "r1", started="2026-11-19T06:00:00Z")
    add(tmp_path, "a", "r2", started="2026-11-20T06:00:00Z", status="warned")
    add(tmp_path, "a", "r3", started="2026-11-21T06:00:00Z", status="data-failed")
    add(tmp_path, "b", "r4", status="error")
    page = Page(write_index(tmp_path))
    assert page.links[0] == "a/r2/report.html"
    assert "No good run yet" in page.text
    good = page.text[: page.text.index("All runs")]
    assert "Newest run: ≠ Data check failed" in good
    assert "Newest run: ✕ Failed" in good


def test_a_name_is_marked_only_while_its_newest_run_is_not_good(tmp_path: Path) -> None:
    add(tmp_path, "a", "r1", started="2026-11-19T06:00:00Z", status="error")
    add(tmp_path, "a", "r2", started="2026-11-20T06:00:00Z", status="warned")
    assert "Newest run:" not in Page(write_index(tmp_path)).text


def test_links_are_relative_quoted_and_lead_to_the_report(tmp_path: Path) -> None:
    for name in ("run colors sector=2.0_Mezz", "a#b?c&d%20", "javascript:x", "ü <b>"):
        add(tmp_path, name, "r 1")
    page = Page(write_index(tmp_path))
    assert len(page.links) == 8
    for link in page.links:
        assert (tmp_path / unquote(link)).read_text() == "report"
        assert not set(":?# <") & set(link)


def test_foreign_and_broken_things_never_break_the_index(tmp_path: Path) -> None:
    good = add(tmp_path, "a", "r1")
    (tmp_path / "a" / "latest").symlink_to(good, target_is_directory=True)
    add(tmp_path, "half", "r", folder=".tmp-half")
    add(tmp_path, "hidden", ".r2")
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "a" / ".r9.partial").symlink_to(good, target_is_directory=True)
    (tmp_path / "a" / "loose.json").write_text("{")
    (tmp_path / "a" / "empty").mkdir()
    bad = ["{", "", "[]", "3", '{"x": 1}', '{"status": 3}', "[" * 100_000, "\ud800"]
    # Deep enough for a reader that calls itself.
    bad.append('{"status": "passed", "x": ' + "[" * 700 + "]" * 700 + "}")
    for number, content in enumerate(bad):
        place = add(tmp_path, "bad", f"b{number}")
        (place / "run.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    odd = {"figures": [1, {"value": None}], "started": 5, "as_of": [1], "duration": "x", "title": 1}
    add(tmp_path, "odd", "o1", **odd)
    page = Page(write_index(tmp_path))
    assert page.text.count("? Unreadable") == len(bad) + 1  # and the newest of that name
    assert f"{len(bad) + 2} runs" in page.text
    assert "half" not in page.text
    assert "hidden" not in page.text


def test_hostile_values_stay_inert(tmp_path: Path) -> None:
    figure = {"name": HOSTILE, "value": HOSTILE, "unit": HOSTILE}
    values = dict.fromkeys(("started", "as_of", "duration", "status"), HOSTILE)
    add(tmp_path, HOSTILE, "r", folder="x", figures=[figure, figure], **values)
    path = write_index(tmp_path)
    page = Page(path)
    names = [tag for tag, _ in page.tags]
    assert names.count("script") == 1
    assert not {"img", "link", "iframe"} & set(names)
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]
    assert "<script>window.pwned=1</script>" in page.text
    assert "\u202e" not in page.text
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy
    script = re.search(r"<script>(.*?)</script>", path.read_text("utf-8"), re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy[0] == (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_a_failed_write_leaves_the_old_index_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_index(tmp_path)
    before = path.read_text()
    add(tmp_path, "a", "r1")

    def refuse(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_index(tmp_path)
    assert path.read_text() == before
    files = {entry.name for entry in tmp_path.iterdir() if entry.is_file()}
    assert files == {"index.html", ".index.lock"}


def test_two_thousand_runs_are_listed_newest_first(tmp_path: Path) -> None:
    figures = [{"name": "children", "value": 1507, "unit": "colors"}] * 3
    for number in range(2000):
        begun = f"2026-11-21T{number // 60 % 24:02d}:{number % 60:02d}:00Z"
        add(tmp_path, f"n{number % 7}", f"r{number}", started=begun, figures=figures)
    page = write_index(tmp_path)
    assert page.stat().st_size < 1_000_000
    rows = re.findall(r"<tr data-status.*?</tr>", page.read_text("utf-8"))
    assert len(rows) == 2000
    times = [re.search(r"(\d\d:\d\d) UTC", row) for row in rows]
    assert [t[1] for t in times if t] == sorted((t[1] for t in times if t), reverse=True)


RUNNER = """
import fcntl, json, pathlib, sys, time
partial = pathlib.Path(sys.argv[1])
partial.mkdir(parents=True)
lock = (partial / ".lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX)
run = {"status": "running", "name": "colors", "started": "2026-11-21T06:15:02Z"}
(partial / "run.json").write_text(json.dumps(run))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_run_is_running_while_its_runner_lives_and_abandoned_after(tmp_path: Path) -> None:
    partial = tmp_path / "colors" / ".20261121T061502Z-abcd1234.partial"
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(partial)], stdout=subprocess.PIPE
    ) as runner:
        assert runner.stdout
        assert runner.stdout.readline() == b"ready\n"
        assert is_alive(partial)
        assert "▸ Running" in Page(write_index(tmp_path)).text
        assert is_alive(partial), "looking must not take the lock away"
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    assert not is_alive(partial)
    page = Page(write_index(tmp_path))
    assert "◌ Abandoned" in page.text
    assert "What ran it ended before it could write a report." in page.text
    assert "21 Nov 2026, 06:15 UTC" in page.text
    assert "Newest run: ◌ Abandoned" in page.text
    assert page.links == []


def test_a_half_made_run_without_lock_or_record_is_abandoned_with_what_is_known(
    tmp_path: Path,
) -> None:
    (tmp_path / "a" / ".20261121T061502Z-abcd1234.partial" / "data").mkdir(parents=True)
    (run,) = find_runs(tmp_path)
    assert (run.name, run.run_id) == ("a", "20261121T061502Z-abcd1234")
    assert (run.status, run.href, run.good) == ("abandoned", "", False)
    assert "20261121T061502Z-abcd1234" in Page(write_index(tmp_path)).text


WRITER = """
import pathlib, sys, time
from workbench.reporting.index import write_index
root, who = pathlib.Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(6):
    place = root / who / f"r{number}"
    place.mkdir(parents=True)
    (place / "run.json").write_text('{"status": "passed"}')
    (place / "report.html").write_text("x")
    write_index(root)
    # Every later index must list it too: a page begun before this run would come about now.
    time.sleep(0.05)
    assert f'href="{who}/r{number}/report.html"' in (root / "index.html").read_text()
"""


def test_runs_that_end_together_do_not_miss_each_other(tmp_path: Path) -> None:
    for number in range(150):  # a page that takes its time
        add(tmp_path, "old", f"o{number}")
    words, pipe = [sys.executable, "-c", WRITER, str(tmp_path)], subprocess.PIPE
    with (
        subprocess.Popen([*words, "a"], stdin=pipe, stdout=pipe) as one,
        subprocess.Popen([*words, "b"], stdin=pipe, stdout=pipe) as two,
    ):
        assert [writer.stdout and writer.stdout.readline() for writer in (one, two)] == [
            b"ready\n"
        ] * 2
        for writer in (one, two):
            assert writer.stdin
            writer.stdin.write(b"go\n")
            writer.stdin.flush()
        assert [writer.wait(60) for writer in (one, two)] == [0, 0]
    links = {link for link in Page(tmp_path / "index.html").links if not link.startswith("old/")}
    assert links == {f"{who}/r{n}/report.html" for who in ("a", "b") for n in range(6)}


def test_a_page_of_records_from_elsewhere_needs_no_folder(tmp_path: Path) -> None:
    add(tmp_path, "a", "r1")
    runs = list(find_runs(tmp_path))
    os.rename(tmp_path / "a", tmp_path / "gone")  # noqa: PTH104
    assert 'href="a/r1/report.html"' in index_page(runs)
