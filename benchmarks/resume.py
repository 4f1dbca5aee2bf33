"""Kill `sagescope explain` with SIGKILL at random moments, resume it, compare with an unbroken run.

    python benchmarks/resume.py [--kills 20] [--features 8] [--sae NAME] [--seed N]

A moment is a number of events in the journal, drawn evenly over the length of the unbroken run;
every start draws others unless it is given the seed that an earlier one printed.
Each run is killed five times, then brought to its end; its explanations and scores must equal the
unbroken run's byte for byte (but for the seconds they took). Ends with an error where they do not.
"""

import argparse
import json
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KILLS_A_RUN = 5


def sagescope(*args: str) -> list[str]:
    return [sys.executable, "-m", "sagescope.experiments.cli", *args]


def answer(command: list[str]) -> list[dict]:
    """Run a command to its end and read what it prints, without the seconds."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row in rows:
        row.get("cost", {}).pop("seconds", None)
    return rows


def events(journal: Path) -> int:
    """How many events the journal holds by now."""
    if not journal.exists():
        return 0
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT COUNT(*) FROM events").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()


def kill_at(command: list[str], journal: Path, moment: int) -> bool:
    """Start a command, SIGKILL it at a moment; whether it was still running then."""
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while job.poll() is None and events(journal) < moment:
        time.sleep(0.005)
    alive = job.poll() is None
    job.send_signal(signal.SIGKILL)
    job.wait()
    return alive


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--features", type=int, default=8)
    options.add_argument("--sae")
    options.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    asked = options.parse_args()
    source = ["--sae", asked.sae] if asked.sae else []

    drawn = answer(sagescope("features", "--draw", str(asked.features), "--json", *source))
    features = ",".join(str(row["feature"]) for row in drawn)
    draw = random.Random(asked.seed)
    print(f"seed: {asked.seed}")
    with tempfile.TemporaryDirectory() as folder:

        def command(journal: Path) -> list[str]:
            typed = ("--features", features, "--run", "x", "--journal", str(journal), "--json")
            return sagescope("explain", *typed, *source)

        began = time.perf_counter()
        whole = Path(folder) / "whole.db"
        expected = answer(command(whole))
        length = events(whole)
        print(
            f"unbroken: {len(expected)} features, {length} events, "
            f"{time.perf_counter() - began:.0f} s"
        )
        kills, equal, runs = 0, 0, 0
        while kills < asked.kills:
            journal = Path(folder) / f"killed{runs}.db"
            wanted = min(KILLS_A_RUN, asked.kills - kills)
            moments = sorted(draw.sample(range(length), wanted))
            done = [moment for moment in moments if kill_at(command(journal), journal, moment)]
            kills, runs = kills + len(done), runs + 1
            same = answer(command(journal)) == expected
            equal += same
            print(f"killed at events {done}: {'equal' if same else 'NOT EQUAL'}", flush=True)
    print(f"{kills} kills in {runs} runs; {equal} of {runs} equal to the unbroken run")
    if equal < runs:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
