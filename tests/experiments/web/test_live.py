"""The stream of changes: of this process, of another, and after a gap."""

import asyncio
from pathlib import Path

from sagescope.experiments import Journal
from sagescope.experiments.web.live import changes


async def following(stream) -> str:
    return await asyncio.wait_for(anext(stream), 10)


async def test_another_process_is_heard(make_site, journal_path: Path):
    site = make_site(journal_path)
    stream = changes(site)
    assert "event: begun" in await following(stream)
    with Journal.open(journal_path) as other, other.begin("third", {}) as run:
        run.write("session", {"features": [1]})
    said = await following(stream)
    assert "event: changed" in said
    assert f"id: {site.version}" in said


async def test_who_comes_back_hears_of_what_was_missed(make_site, journal_path: Path):
    site = make_site(journal_path)
    seen = site.version
    with site.journal.begin("third", {}) as run:
        run.write("session", {"features": [1]})
    assert "event: changed" in await following(changes(site, seen))


async def test_work_that_writes_nothing_is_heard_too(make_site, journal_path: Path):
    site = make_site(journal_path)
    stream = changes(site)
    await following(stream)
    await site.sessions.do("session", 0, "add", lambda one: one.add("on boats"))
    assert "event: changed" in await following(stream)
    before = site.version
    site.sessions.let_go(idle=0)
    assert site.version != before


async def test_a_journal_that_is_closed_ends_the_stream(make_site, journal_path: Path):
    site = make_site(journal_path)
    stream = changes(site)
    await following(stream)
    site.journal.close()
    assert [line async for line in stream] == []
