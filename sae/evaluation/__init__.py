"""How good SAEs are, on text they were not trained on.

| module | what is in it |
|---|---|
| `run` | `evaluate`: one pass of the subject model for all SAEs |
| `figures` | `Evaluation`: what was measured, and by whose definition |
| `passes` | batches of activations, read once, and what each SAE makes of them |
| `sums` | what is added up over batches |
| `stability` | SAEs of other seeds, and random dictionaries |
| `planted` | precision by quartile of activation, where the truth is known |

The BOS position counts nowhere: it is not among the activations, and it keeps its own when the
model runs on reconstructions (its norm is far above all others, and no SAE here was trained on it).
"""
