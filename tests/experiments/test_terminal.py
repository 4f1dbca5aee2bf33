"""What the terminal shows: complete, and never acting on a stranger's text."""

import io

import pytest
from hostile import HOSTILE, hostile_run
from rich.console import Console, RenderableType

from sagescope.experiments import Journal, explain
from sagescope.experiments.results import results_of
from sagescope.experiments.story import transcript_page
from sagescope.experiments.summary import BANDS, COLUMNS, ROWS, band_name, means
from sagescope.experiments.tables import WIDE, results_page, runs_table
from sagescope.experiments.terminal import ProgressBar
from sagescope.experiments.transcript import transcript_of


def printed(*parts: RenderableType) -> str:
    out = Console(file=io.StringIO(), width=200, color_system="truecolor", force_terminal=True)
    for part in parts:
        out.print(part)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@pytest.mark.parametrize("text", [*HOSTILE, "[red]not markup[/red]", "\x1b]8;;http://x\x07y", "\r"])
def test_hostile_text_is_shown_and_does_nothing(text: str):
    with Journal.open(None) as journal:
        run = hostile_run(journal, text)
        results = results_of(run)
        row = {"run": run.name, "created": run.created, "features": 2, "done": 1, **run.config}
        pages = (results_page(results, width) for width in (200, 80))
        shown = printed(transcript_page(transcript_of(run, 0)), runs_table([row]), *pages)
    # Rich's own colours are the only escapes there are.
    import re

    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", plain
    )
    if text.startswith("[red]"):
        assert "[red]not markup[/red]" in plain


@pytest.fixture(scope="module")
def explained(planted):
    return explain(planted.PlantedSource(), [0, 1, 2])


@pytest.mark.parametrize("width", [72, 80, 100, WIDE - 1, WIDE, 200])
def test_no_number_falls_off_the_edge(explained, width: int):
    out = Console(file=io.StringIO(), width=width)
    out.print(results_page(explained, width))
    assert isinstance(out.file, io.StringIO)
    shown = out.file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    rows = [ROWS[row.of] for row in means(explained)]
    for heading in [*COLUMNS.values(), *map(band_name, BANDS), *rows]:
        assert heading in shown
    labels = "".join(label for result in explained for label in result.explanation.labels)
    assert shown.count("…") <= labels.count("…")


def test_an_attempt_that_was_broken_off():
    with Journal.open(None) as journal:
        run = hostile_run(journal, "x")
        assert "not run" in printed(transcript_page(transcript_of(run, 0)))
        assert "not done" in printed(transcript_page(transcript_of(run, 1)))


def test_progress_is_silent_where_nobody_looks(capsys):
    with ProgressBar() as bar:
        for done in range(3):
            bar("Explaining", done, 2)
    assert capsys.readouterr() == ("", "")
