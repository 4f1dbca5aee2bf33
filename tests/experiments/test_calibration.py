"""Verdicts tried on fresh probes."""

import json

import pytest
from typer.testing import CliRunner

from sagescope.experiments import Journal, cli, explain
from sagescope.experiments.calibration import Tried, calibrate, calibration_of
from sagescope.experiments.transcript import transcript_of
from sagescope.sae.errors import JournalError


def tried(feature=0, posterior=0.9, fires=(10, 10), silent=(10, 10), status="confirmed", side=True):
    return Tried(feature, 0, status, posterior, fires, silent, side)


# --- Figures -------------------------------------------------------------------------------------


def test_the_error_by_hand():
    found = calibration_of(
        [
            tried(0, 0.95, (9, 10)),  # .05 too sure
            tried(1, 0.95, (10, 10)),  # and .05 too little: one bin
            tried(2, 0.45, (1, 4), status="refuted"),  # .2 too sure
            tried(3, 0.15, silent=(1, 2), side=False, status="refuted"),  # .35 too little
        ]
    )
    assert found.ece.value == pytest.approx((0 + 0.2 + 0.35) / 4)
    assert found.ece.n == 4
    assert [(one.low, one.n) for one in found.bins] == [(0.1, 1), (0.4, 1), (0.9, 2)]
    assert found.bins[-1].posterior == pytest.approx(0.95)
    assert found.bins[-1].observed.value == pytest.approx(0.95)


def test_precision_by_hand():
    found = calibration_of(
        [
            tried(0, fires=(10, 10), silent=(6, 10)),  # .8, and fails on one side
            tried(1, fires=(8, 10), silent=(10, 10)),  # .9
            tried(2, fires=(0, 10), status="open"),
            tried(3, fires=(0, 0), silent=(0, 10)),  # one side could not be tried
        ]
    )
    assert found.precision.value == pytest.approx(0.85)
    assert found.held.value == 0.5
    assert found.precision.n == 2


def test_nothing_is_undefined_and_not_zero():
    found = calibration_of([])
    assert found.ece.value is found.precision.value is None
    assert found.bins == ()
    assert "confirmed" in calibration_of([tried(status="open")]).precision.reason


def test_perfect_posteriors_have_no_error():
    found = calibration_of([tried(k, 0.5, (k % 2, 1)) for k in range(40)])
    assert found.ece.value == pytest.approx(0)


# --- A run ---------------------------------------------------------------------------------------


def test_fresh_probes_of_a_run(source, planted, tmp_path):
    with Journal.open(tmp_path / "j.db") as journal:
        explain(source, range(3), journal=journal, run="r", score=False)
        before = len(source.measured)
        found = calibrate(source, "r", journal=journal)
        run = journal.run("r")
        probed = {t.probe.text for f in range(3) for t in transcript_of(run, f).trials}
        fresh = [text for _, texts in source.measured[before:] for text in texts]
        assert fresh
        assert not probed & set(fresh)
        # A planted feature does what its rule says; nothing that was confirmed fails.
        assert found.precision.value > 0.95
        again = len(source.measured)
        assert calibrate(source, "r", journal=journal) == found
        assert len(source.measured) == again, "what was measured is kept"
        other = calibrate(source, "r", journal=journal, seed=2)
        assert len(source.measured) > again
        assert len(other.tried) == len(found.tried)
        with pytest.raises(JournalError, match="begun with"):
            calibrate(planted.PlantedSource(corpus=planted.texts(seed=1)), "r", journal=journal)


def test_the_command(planted, tmp_path, monkeypatch):
    import contextlib

    source = planted.PlantedSource()
    monkeypatch.setattr(cli.opening, "open_source", lambda *_: contextlib.nullcontext(source))
    explain(source, [0, 1], journal=tmp_path / "j.db", run="r", score=False)
    typed = ["calibrate", "r", "--journal", str(tmp_path / "j.db")]
    shown = CliRunner().invoke(cli.app, typed).stdout
    assert "expected calibration error" in shown
    assert "confirmed hypotheses that hold" in shown
    (row,) = map(json.loads, CliRunner().invoke(cli.app, [*typed, "--json"]).stdout.splitlines())
    assert row["run"] == "r"
    assert {"ece", "precision", "held", "bins", "hypotheses"} <= row.keys()
