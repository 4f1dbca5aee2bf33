"""Tokens planted in a real tiny model: a vocabulary of whole words, and an SAE that reads their embeddings."""

from pathlib import Path

import numpy as np
import torch

from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.loading import LoadedSAE
from sagescope.sae.model_source import ModelSource
from sagescope.sae.on_demand import EvidenceOnDemand
from sagescope.sae.subject import SubjectModel

TOKENS, WIDTH, CONTEXT = 2000, 256, 64


def word(number):
    """A made-up word of four letters, another for each number."""
    letters = "abcdefghijklmnopqrst"
    return "".join(letters[number // 20**place % 20] for place in range(4))


def save_model(folder: Path, seed: int, width: int = WIDTH, tokens: int = TOKENS) -> Path:
    """A llama with one block and a tokenizer whose tokens are " WORD"."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {"<s>": 0, **{f"Ġ{word(n)}": n for n in range(1, tokens)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        initializer_range=1 / width**0.5,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def texts(n=240, tokens=TOKENS, seed=0, words=40):
    """n texts of random words, each with a space before it."""
    draw = np.random.default_rng(seed)
    return ["".join(f" {word(int(k))}" for k in draw.integers(1, tokens, words)) for _ in range(n)]


def source(
    folder: Path,
    rows: torch.Tensor,
    bias: torch.Tensor,
    root: Path,
    hook: str = "blocks.0.hook_resid_pre",
    tokens: int = TOKENS,
    words: int = 40,
    has_bos: bool = True,
) -> ModelSource:
    """A standard SAE with these encoder rows [features, width] and biases, by default on embeddings.

    tokens, words: of the corpus (see `texts`). has_bos: whether the SAE reads behind a BOS token.
    """
    import warnings

    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sae = StandardSAE(
            StandardSAEConfig(
                d_in=rows.shape[1],
                d_sae=len(rows),
                apply_b_dec_to_input=False,
                metadata=SAEMetadata(hook_name=hook, context_size=CONTEXT, prepend_bos=has_bos),
            )
        )
    with torch.no_grad():
        sae.W_enc.copy_(rows.T)
        sae.W_dec.copy_(rows)
        sae.b_enc.copy_(bias)
    subject = SubjectModel.load(str(folder), dtype="float32", device="cpu")
    reader = LatentReader(subject, LoadedSAE("planted", sae.eval()))
    corpus = corpus_of(texts(400, tokens, words=words))
    return ModelSource(reader, EvidenceOnDemand(reader, corpus, 10_000, root, progress=False))
