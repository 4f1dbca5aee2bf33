"""Tiny real models, tokenizers and SAEs with random weights, made on the spot.

They go through the same code as models of the Hugging Face hub: a folder is written, then loaded.
"""

import json
from pathlib import Path

import numpy as np
import torch

TEXT = (
    "the a cat dog house river stone bread garden window runs sleeps eats sees finds loves under "
    "over near with and but or quickly slowly never always red green blue small large old new"
)
WORDS = TEXT.split()
CONTEXT = 64
WIDTH = 32
LAYERS = 2


def save_tokenizer(folder: Path, vocabulary: int = 384, texts: list[str] | None = None) -> None:
    """A byte-level BPE tokenizer with the BOS token <s>, trained on texts, by default WORDS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts or [" ".join(WORDS)] * 3, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)


def save_model(folder: Path, family: str = "llama", seed: int = 0) -> Path:
    """A random model of two blocks, width 32, with its tokenizer, as a Hugging Face folder.

    family: "llama", "gpt2", "gemma2" (norms before and behind attention and MLPs, embeddings that are
    scaled), "olmo2" (norms behind them alone), "neox" (attention and MLP side by side), or "granite"
    (what they write is scaled before it is added).
    """
    import transformers

    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(_config(family))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and family in ("gemma2", "olmo2", "neox"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def _config(family: str):
    import transformers

    shared = {"vocab_size": 384, "bos_token_id": 0, "initializer_range": 0.3}
    if family == "gpt2":
        sizes = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": CONTEXT}
        return transformers.GPT2Config(**shared, **sizes)
    sizes = {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
    }
    if family == "neox":
        return transformers.GPTNeoXConfig(**shared, **sizes)
    sizes["num_key_value_heads"] = 2
    if family == "gemma2":
        more = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": CONTEXT}
        return transformers.Gemma2Config(**shared, **sizes, **more)
    if family == "granite":
        return transformers.GraniteConfig(**shared, **sizes, residual_multiplier=0.5)
    kind = {"llama": transformers.LlamaConfig, "olmo2": transformers.Olmo2Config}[family]
    return kind(**shared, **sizes)


def save_sae(
    folder: Path,
    architecture: str = "topk",
    hook: str = "blocks.1.hook_resid_post",
    features: int = 96,
    d_in: int = WIDTH,
    seed: int = 1,
    metadata: dict | None = None,
    **config,
) -> Path:
    """A random SAE of any architecture in SAELens's registry, as SAELens saves it."""
    folder.mkdir(parents=True, exist_ok=True)
    sae = make_sae(architecture, hook, features, d_in, seed, metadata, **config)
    sae.save_model(folder)
    return folder


def make_sae(
    architecture: str,
    hook: str = "blocks.1.hook_resid_post",
    features: int = 96,
    d_in: int = WIDTH,
    seed: int = 1,
    metadata: dict | None = None,
    **config,
):
    """The SAE object itself. Every parameter is random, so that none can be left out unnoticed."""
    import warnings

    from sae_lens.registry import get_sae_class
    from sae_lens.saes.sae import SAEMetadata

    sae_class, config_class = get_sae_class(architecture)
    known = {"context_size": CONTEXT, "prepend_bos": True, "hook_name": hook, **(metadata or {})}
    extra: dict = {}
    if "topk" in architecture:
        extra["k"] = 8
    if "transcoder" in architecture:
        extra |= {"d_out": d_in, "apply_b_dec_to_input": False}
        known["hook_name_out"] = "blocks.1.hook_mlp_out"
    if architecture == "temporal":
        extra |= {"n_heads": 2, "bottleneck_factor": 4, "kval_topk": 8}
    if architecture == "matching_pursuit":
        extra["max_iterations"] = 6
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sae = sae_class(
            config_class(
                d_in=d_in, d_sae=features, metadata=SAEMetadata(**known), **(extra | config)
            )
        )
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
            if name in ("threshold", "kernel_scale"):
                parameter.abs_()
    return sae


def dense(latents, n_features: int):
    """Sparse latents as one array [tokens, features]."""
    found = np.zeros((latents.starts[-1], n_features), np.float32)
    found[latents.tokens, latents.latents] = latents.values
    return found


def edit_metadata(folder: Path, **changes) -> Path:
    """Change what an SAE folder says about how its model was prepared."""
    path = folder / "cfg.json"
    config = json.loads(path.read_text())
    config["metadata"].update(changes)
    path.write_text(json.dumps(config))
    return folder


def sentences(n: int, seed: int = 0) -> list[str]:
    """n different made-up texts of 40 to 120 words."""
    import random

    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(40, 120))) + "." for _ in range(n)]
