"""Sessions: people, and agents of theirs, in the loop of one feature.

looking.py      what can be looked at: the verbs that change nothing, asynchronous
session.py      what can be done: all verbs
ledger.py       the session's events in its run's journal, and the state made from them
views.py        what verbs return: records, which are JSON and HTML alike
steered.py      what a steering shows
rule_text.py    rules as people write them
live.py         the verbs for plain Python and notebooks
verbs.py        the verbs as lines that are typed
pages.py        views in a terminal
prompt.py       `sagescope session`
tools.py        `sagescope mcp`
"""
