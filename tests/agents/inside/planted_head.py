"""A small real model whose one attention head is planted, so that the right rules are known.

One block of GPT-2, d = 96, without position embeddings: what the head reads of a token is its
embedding through the norm. Embeddings are random directions, which are not orthogonal: scores and
values of planted words are exact, those of all others are chance. The head's query map is
Σ a(k, q) k qᵀ over planted pairs, its key and value maps are the identity, and a bias
of the query looks at the BOS token (the sink) whatever the query. With a strong sink and no pairs, a
word's share is the same wherever it stands, and the feature counts. The SAE reads the head's output.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

D, WORDS = 96, 80
#: How often a planted word stands in text, where other words share the rest.
RARE = 0.006


@dataclass(frozen=True)
class Plant:
    """keys, queries: of the skip-gram. distractor: has stronger attention and negative value.

    sink: the score of BOS. looks, distracts: scores of keys and of the distractor. plus, minus: words
    that count for and against. threshold: of the feature; for a count, in words.
    """

    keys: tuple[int, ...] = ()
    queries: tuple[int, ...] = ()
    distractor: int | None = None
    plus: tuple[int, ...] = ()
    minus: tuple[int, ...] = ()
    sink: float = 5.0
    looks: float = 7.0
    distracts: float = 9.5
    threshold: float = 0.15

    @property
    def planted(self) -> tuple[int, ...]:
        """All words that mean something."""
        others = () if self.distractor is None else (self.distractor,)
        return (*self.keys, *self.queries, *others, *self.plus, *self.minus)


def word(number: int) -> str:
    """A word's token string: letters alone, and a space before."""
    return f" w{chr(97 + number // 26)}{chr(97 + number % 26)}"


def save(folder: Path, plant: Plant, seed: int) -> tuple[Path, Path]:
    """The model and the SAE of a plant, as folders."""
    directions = _directions(seed)
    return _save_model(folder / "model", plant, directions), _save_sae(
        folder / "sae", plant, directions
    )


def texts(plant: Plant, n: int, seed: int, length: int = 40, rare: float = RARE) -> list[str]:
    """n texts; planted words come with the rate `rare` each, the others alike."""
    draw = np.random.default_rng(seed)
    rates = np.full(WORDS, 1.0)
    planted = list(plant.planted)
    rates[planted] = 0
    rates *= (1 - rare * len(planted)) / rates.sum()
    rates[planted] = rare
    return ["".join(word(i) for i in draw.choice(WORDS, length, p=rates)) for _ in range(n)]


def _directions(seed: int) -> torch.Tensor:
    """[WORDS + 1, D]: of each word and of BOS, as the norm leaves them alone."""
    drawn = torch.randn(WORDS + 1, D, generator=torch.Generator().manual_seed(seed))
    drawn -= drawn.mean(1, keepdim=True)
    return drawn / drawn.std(1, correction=0, keepdim=True)


def _duals(plant: Plant, directions: torch.Tensor) -> dict[int, torch.Tensor]:
    """Of each planted word, and of BOS: what is 1 on it and 0 on the others of them.

    What it is on all other words is left to chance, except for a count, which would drown in that.
    """
    some = [*(plant.planted if plant.keys else range(WORDS)), WORDS]
    return dict(zip(some, torch.linalg.pinv(directions[some]).T, strict=True))


def _save_model(folder: Path, plant: Plant, directions: torch.Tensor) -> Path:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=WORDS + 1,
        n_embd=D,
        n_layer=1,
        n_head=1,
        n_positions=64,
        bos_token_id=WORDS,
        eos_token_id=WORDS,
    )
    model = transformers.GPT2LMHeadModel(config)
    attention = model.transformer.h[0].attn
    unit, dual = D**0.5, _duals(plant, directions)
    query = torch.zeros(D, D)
    looks = dict.fromkeys(plant.keys, plant.looks)
    if plant.distractor is not None:
        looks[plant.distractor] = plant.distracts
    for q in plant.queries:
        for k, score in looks.items():
            query += score * torch.outer(dual[q], dual[k]) * unit
    sink = plant.sink * dual[WORDS] * unit
    with torch.no_grad():
        model.transformer.wte.weight.copy_(directions)
        model.transformer.wpe.weight.zero_()
        # Conv1D keeps [in, out].
        attention.c_attn.weight.copy_(torch.cat([query, torch.eye(D), torch.eye(D)], 1))
        attention.c_attn.bias.copy_(torch.cat([sink, torch.zeros(2 * D)]))
    model.save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word(i): i for i in range(WORDS)} | {"<s>": WORDS}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" \w+"), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)


def _save_sae(folder: Path, plant: Plant, directions: torch.Tensor) -> Path:
    """One latent that is planted, and a few random ones that no text reaches."""
    from sae_lens.registry import get_sae_class
    from sae_lens.saes.sae import SAEMetadata

    sae_class, config_class = get_sae_class("standard")
    metadata = SAEMetadata(
        context_size=64, prepend_bos=True, hook_name="blocks.0.attn.hook_z", hook_head_index=0
    )
    sae = sae_class(config_class(d_in=D, d_sae=4, apply_b_dec_to_input=False, metadata=metadata))
    encoder, dual = torch.zeros(D), _duals(plant, directions)
    for k in (*plant.keys, *plant.plus):
        encoder += dual[k]
    for k in (*(() if plant.distractor is None else (plant.distractor,)), *plant.minus):
        encoder -= dual[k]
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
        sae.W_enc[:, 0] = encoder
        sae.b_enc.fill_(-9.0)
        each = 1.0 if plant.keys else 1 / (1 + float(torch.tensor(plant.sink).exp()))
        sae.b_enc[0] = -plant.threshold * each
    folder.mkdir(parents=True)
    sae.save_model(folder)
    return folder
