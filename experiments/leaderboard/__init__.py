"""Leaderboards: explanations of the same features, by the same scorers, on the same text.

manifest.py    a benchmark, frozen: what is explained, on which text, and how it is scored
benchmark.py   explains a benchmark's features, in runs that are bound to it
submission.py  explanations from elsewhere, scored again from their text alone
rows.py        what a leaderboard's rows are made of: runs, submissions and controls
board.py       one table: rows with means, intervals, skill and differences
recovered.py   beside planted features: how many each explainer recovered
saes.py        SAEs by how explainable their features are
output.py, markdown.py
               tables as page and JSON, and as Markdown
neuronpedia.py, delphi.py
               explanations in the formats of others
"""
