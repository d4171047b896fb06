"""The index over all runs: complete, in order, and never broken by what lies around."""

import json
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from workbench.reporting.index import write_index

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
        self.text += "" if self.tags[-1:] == [("style", {})] else data

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
    assert "no good run yet" in page.text


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
    (tmp_path / "a" / "loose.json").write_text("{")
    (tmp_path / "a" / "empty").mkdir()
    bad = ["{", "", "[]", "3", '{"x": 1}', '{"status": 3}', "[" * 100_000, "\ud800"]
    for number, content in enumerate(bad):
        place = add(tmp_path, "bad", f"b{number}")
        (place / "run.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    odd = {"figures": [1, {"value": None}], "started": 5, "as_of": [1], "duration": "x", "title": 1}
    add(tmp_path, "odd", "o1", **odd)
    page = Page(write_index(tmp_path))
    assert page.text.count("Unreadable") == len(bad)
    assert f"{len(bad) + 2} runs" in page.text
    assert "half" not in page.text
    assert "hidden" not in page.text


def test_hostile_values_stay_inert(tmp_path: Path) -> None:
    figure = {"name": HOSTILE, "value": HOSTILE, "unit": HOSTILE}
    values = dict.fromkeys(("started", "as_of", "duration", "status"), HOSTILE)
    add(tmp_path, HOSTILE, "r", folder="x", figures=[figure, figure], **values)
    path = write_index(tmp_path)
    page = Page(path)
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]
    assert "<script>window.pwned=1</script>" in page.text
    assert "\u202e" not in page.text
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy
    assert str(policy[0]).startswith("default-src 'none'")


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
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["index.html"]


def test_two_thousand_runs_take_less_than_two_seconds(tmp_path: Path) -> None:
    for number in range(2000):
        add(
            tmp_path, f"n{number % 7}", f"r{number}", started=f"2026-11-21T06:{number % 60:02d}:00Z"
        )
    started = time.perf_counter()
    page = write_index(tmp_path)
    assert time.perf_counter() - started < 2
    assert page.read_text().count("<tr>") == 2001
