"""More than one machine: a job's features, and a corpus's documents, spread over workers of Ray.

    driver (the process that was started)              worker (an actor: its own host on its own GPU)
    ─────────────────────────────────────              ───────────────────────────────────────────────
    journal, standing of the run                       a copy of one feature's events, in memory
    which feature is next                    ── task ─►  explains it, or scores it, as one process does
    writes them, in the order they came    ◄── events ─  whatever it writes
    clients: keys, limits, budgets, log      ◄─ asks ──  language models, through a client that has
    of calls                               ── reply ──►  nothing but a line to the driver

A worker runs the very code of a run in one process (`explained`, `scored`). It differs in two places
only: its run is a copy that sends on what is written to it (`copies.CopiedRun`), and its clients ask
the driver (`asking.AskingClient`). So

- the driver alone writes the journal, and no worker needs its file;
- the driver alone connects to language models: each address has one limiter, each run one budget,
  whatever the number of workers, and no key leaves the driver's process. It can hold thousands of
  calls open, since they wait for the network;
- a call is in the journal before it is sent and when its reply comes, whether or not the worker that
  asked still lives. Whoever takes up its feature asks the same, and gets that reply, also one that
  was under way meanwhile;
- features are begun anew where a worker was lost, as where a whole run was killed, with the calls
  and measurements that the journal has. They come to the same end, since nothing that decides a
  result depends on who computes it.

All talk is the driver's calls of its actors (`crew`): one that gives a task, one that fetches what
a worker has to say (it waits until there is something), one that answers. Nothing needs an address of
the driver, and a lost worker shows itself in the call that is always under way.

`opening` starts or finds Ray, `collecting` spreads the collection of evidence.
"""

from .opening import Cluster

__all__ = ["Cluster"]
