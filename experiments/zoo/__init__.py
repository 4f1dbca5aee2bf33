"""The zoo: SAEs of many architectures on one hook point, trained alike, explained alike, compared.

    sagescope zoo                    # `make zoo`: all of it, by the recipe that comes with Sagescope
    sagescope zoo --table            # the table of what there is so far
    sagescope zoo FOLDER --recipe my.yaml

A `recipe` says what is trained and on what, and how many features are explained. The stages of
`stages` follow each other, each goes on where it was stopped: activations are kept once, SAEs are
trained on them (`training`), measured together, their features are drawn by a rule that matches how
often they fire (`draw`), explained and scored (`explaining`). `table` puts what a reconstruction
costs beside what explanations score, with scores adjusted for frequency (`adjusted`); `output`
writes it.
"""
