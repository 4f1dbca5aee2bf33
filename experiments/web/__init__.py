"""The page: `sagescope web`, runs, features, sessions and leaderboards in a browser.

app.py          the application: who may ask, how errors look, what is static
site.py         what all pages share: the journal, the source, jobs and open sessions
pages.py        how pages are made, and what they fill in
runs.py         the list of runs, and one run
feature.py      one feature
contexts.py     what the corpus says of a feature, as shown
session.py      a session: its page, and its verbs
leaderboard.py  tables, and two explainers compared
standing.py     what the tables are made of
figures.py      the geometry of what is drawn
downloads.py    the data behind each page
live.py         server-sent events: something has changed
progress.py     how far a run is, and what it cost
jobs.py         `sagescope explain` as processes of the page
open_sessions.py  sessions that are open, and what is under way in them

Pages are made from the journal alone, whoever writes it; only what needs the model asks the source.
"""
