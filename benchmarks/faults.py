"""Run every fault in a real process and write the table of docs/faults.md.

    python benchmarks/faults.py

Takes some minutes: one provider is gone for a whole minute. Ends with an error, and leaves the page
as it is, where a test fails or cannot be run here (full disks and read-only folders need to mount).
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"
HEAD = "| fault | what the user sees | what is lost | what the next run does |\n|---|---|---|---|\n"


def rows_of(report: Path) -> tuple[list[str], list[str]]:
    """The rows that tests told, and why others told none."""
    cases = list(xml.parse(report).iter("testcase"))
    told = [case.findall(".//property[@name='fault']") for case in cases]
    rows = [one.attrib["value"] for found in told for one in found]
    whys = [
        f"{case.attrib['name']}: {one.attrib['message']}"
        for case in cases
        for one in case.findall("skipped")
    ]
    return list(dict.fromkeys(rows)), whys


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        tests = [sys.executable, "-m", "pytest", "tests/faults", "-q", f"--junitxml={report}"]
        told = {**os.environ, "SAGESCOPE_FAULTS_ARE_WRITTEN": "1"}
        failed = subprocess.run(tests, cwd=ROOT, env=told).returncode
        rows, whys = rows_of(report)
    table = HEAD + "".join(f"{row}\n" for row in rows)
    print(table)
    for why in whys:
        print(f"Not tried here: {why}", file=sys.stderr)
    if failed or whys:
        return 1
    before, _, _ = PAGE.read_text("utf-8").partition(HEAD)
    PAGE.write_text(before + table, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
