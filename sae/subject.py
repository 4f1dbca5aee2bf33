"""The subject model: a language model under study, run only as far as the hook point.

`SubjectModel.load(spec)` takes

    smollm2-135m-instruct      a built-in (see `weights.BUILTIN`)
    path/to/model.gguf         one GGUF file, with its tokenizer inside
    path/to/folder             a local Hugging Face folder
    owner/name                 a model of the Hugging Face hub

The hot path is a plain forward hook on the Hugging Face module, which stops the pass once the hook
point is reached. `SubjectModel.bridge` is the same weights as a TransformerBridge, for hook names,
weights and whatever is not hot.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from .errors import SubjectError, first_line
from .hook_points import HookPoint, resolve_hook_point
from .weights import auto_device, auto_dtype, device_named, dtype_named, load_model, locate

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class _Reached(BaseException):
    """The hook point was reached: what follows it need not run. Never leaves this module."""


@dataclass(frozen=True)
class Tokens:
    """One tokenised text, without special tokens.

    ids: token ids, length n. pieces: the n strings that the tokens stand for. They concatenate to
    the text (lone surrogates read as "?"), unless there is no token at all. A character of several
    tokens, as an emoji is, stands with the last of them, and the others are empty strings. What the
    tokenizer drops (SmolLM2's has no token for some control characters) stands with the token
    behind it, and at the end of the text with the last.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]


class SubjectModel:
    """A language model under study, with its tokenizer.

    id: the name it goes by in feature ids. model: the Hugging Face module, in eval mode, without
    gradients. d_model, n_layers: width of the residual stream, number of blocks. turn: held while a
    pass runs, and by whoever needs several in a row to themselves.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, id: str):
        self.id = id
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        text_config = model.config.get_text_config()
        self.d_model: int = text_config.hidden_size
        self.n_layers: int = text_config.num_hidden_layers
        self.max_context: int = getattr(text_config, "max_position_embeddings", 0) or 1 << 30
        # Hooks stand on the module during a pass: two threads would run into each other's.
        self.turn = threading.RLock()

    @classmethod
    def load(cls, spec: str, *, device: str = "auto", dtype: str = "auto") -> SubjectModel:
        """Load the model that `spec` names (forms: see the module's docstring).

        device: "auto" (CUDA where there is one), or a torch device. dtype: "auto" (bfloat16 on
        CUDA and on CPUs with bf16 units, else float32), "float32" or "bfloat16".
        Raises SubjectError for what cannot be found or loaded.
        """
        place = device_named(auto_device() if device == "auto" else device)
        kind = auto_dtype(place) if dtype == "auto" else dtype_named(dtype)
        folder, name = locate(spec)
        model, tokenizer = load_model(folder, kind)
        try:
            return cls(model.to(place), tokenizer, name)
        except AttributeError as error:
            raise SubjectError(
                f"{spec} is no language model that Sagescope can run ({first_line(error)}): give "
                f"another."
            ) from error

    def with_random_weights(self, seed: int = 0) -> SubjectModel:
        """The same architecture and tokenizer with weights that know nothing.

        Each tensor of weights, the embeddings among them, is drawn anew from a normal distribution
        with its own mean and standard deviation (the "re-randomized" model of Heap et al. 2025).
        """
        model = copy.deepcopy(self.model)
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                known = weights.float()
                noise = torch.randn(weights.shape, generator=draw).to(weights.device)
                weights.copy_(known.mean() + noise * known.std(correction=0))
        return SubjectModel(model, self.tokenizer, f"{self.id}+random-weights")

    @cached_property
    def bridge(self) -> TransformerBridge:
        """The same weights as a TransformerBridge (eager attention, hooks everywhere)."""
        from transformer_lens.model_bridge import TransformerBridge

        # The bridge rewires the module it is given, so it gets its own, sharing every tensor.
        tensors = [*self.model.parameters(), *self.model.buffers()]
        twin = copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})
        twin.config._attn_implementation = "eager"
        return TransformerBridge.boot_transformers(
            self.id, hf_model=twin, tokenizer=self.tokenizer, dtype=self.dtype, device=self.device
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the weights as they stand here (dtype included) and of the tokenizer."""
        found = hashlib.sha256(tensor_digest(self.model.state_dict()).encode())
        # `backend_tokenizer` is there for every fast tokenizer, which `load` insists on.
        rules: Any = self.tokenizer.backend_tokenizer
        found.update(rules.to_str().encode())
        found.update(str(self.tokenizer.bos_token_id).encode())
        return found.hexdigest()

    def hook_point(self, name: str) -> HookPoint:
        """Where `name` (a TransformerLens name, legacy or bridge) is in the module tree.

        Raises HookPointError, with the near names, for one that the model does not have.
        """
        return resolve_hook_point(name, self)

    # ---------------------------------------------------------------- text to tokens

    @cached_property
    def bos_id(self) -> int:
        """The token put before each text when an SAE was trained with one."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if isinstance(token, int):
                return token
        raise SubjectError(f"The tokenizer of {self.id} has neither a BOS nor an EOS token.")

    def tokenize(self, texts: list[str]) -> list[Tokens]:
        """Tokenise `texts` as they stand, without special tokens."""
        if not texts:
            return []
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encoded = self.tokenizer(
            clean,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        rows = zip(clean, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [Tokens(tuple(ids), _pieces(text, offsets)) for text, ids, offsets in rows]

    def token(self, id: int) -> str:
        """The string of a token of the vocabulary; parts of a character read as U+FFFD."""
        shown = str(self.tokenizer.decode([id], clean_up_tokenization_spaces=False))
        # SentencePiece drops the space before the first token of a text.
        spaced = str(self.tokenizer.convert_ids_to_tokens(id)).startswith("▁")
        return f" {shown}" if spaced and not shown.startswith(" ") else shown

    # ---------------------------------------------------------------- tokens to activations

    def activations(self, ids: torch.Tensor, at: HookPoint) -> torch.Tensor:
        """Activations at a hook point; what lies behind it does not run.

        ids: [batch, seq] token ids, padded on the right (a causal model never looks there).
        Returns [batch, seq, d] in the model's dtype.
        """
        return self.activations_at(ids, [at])[0]

    @torch.inference_mode()
    def activations_at(self, ids: torch.Tensor, points: Sequence[HookPoint]) -> list[torch.Tensor]:
        """Activations at several hook points, from one pass that stops at the deepest of them.

        ids, and each of what is returned: as in `activations`.
        """
        return self._until(ids, points)

    def from_embeddings(
        self, ids: torch.Tensor, embedded: torch.Tensor, at: HookPoint
    ) -> torch.Tensor:
        """As `activations`, with embeddings [batch, seq, d] in place of the tokens' own.

        They stand for what the model's embedding gives for `ids`. Gradients flow back to them where
        they are wanted.
        """

        def replace(_module: Any, _args: Any, _output: Any) -> torch.Tensor:
            return embedded

        with self.turn:
            handle = self.model.get_input_embeddings().register_forward_hook(replace)
            try:
                return self._until(ids, [at])[0]
            finally:
                handle.remove()

    def _until(self, ids: torch.Tensor, points: Sequence[HookPoint]) -> list[torch.Tensor]:
        distinct = list(dict.fromkeys(points))
        seen: dict[HookPoint, torch.Tensor] = {}

        def keep(at: HookPoint, found: torch.Tensor) -> torch.Tensor:
            seen[at] = found
            if len(seen) == len(distinct):
                raise _Reached
            # The pass goes on, and may write over what it has.
            seen[at] = found.clone()
            return found

        with self.turn, contextlib.ExitStack() as stack:
            for at in distinct:
                stack.enter_context(Edit(at, functools.partial(keep, at)).applied(self.model))
            try:
                self.model.base_model(input_ids=ids.to(self.device), use_cache=False)
            except _Reached:
                return [seen[at] for at in points]
        missed = next(at for at in distinct if at not in seen)
        raise SubjectError(f"The forward pass of {self.id} never reached {missed.name}.")

    @torch.inference_mode()
    def logits(self, ids: torch.Tensor, edit: Edit | None = None) -> torch.Tensor:
        """Next-token logits [batch, seq, vocab] of the whole model, optionally with one edit."""
        with self.turn, edit.applied(self.model) if edit else contextlib.nullcontext():
            return self.model(input_ids=ids.to(self.device), use_cache=False).logits

    @torch.inference_mode()
    def next_logits(
        self, ids: torch.Tensor, ends: torch.Tensor, edit: Edit | None = None
    ) -> torch.Tensor:
        """Logits [batch, vocab] of the token after place ends[k] of each row, else as `logits`."""
        places, where = torch.unique(ends, return_inverse=True)
        if "logits_to_keep" not in inspect.signature(self.model.forward).parameters:
            return self.logits(ids, edit)[torch.arange(len(ids)), ends]
        # The unembedding is the widest map of a small model: only what is asked for goes through it.
        kept = {"logits_to_keep": places.to(self.device)}
        with self.turn, edit.applied(self.model) if edit else contextlib.nullcontext():
            found = self.model(input_ids=ids.to(self.device), use_cache=False, **kept).logits
        return found[torch.arange(len(ids)), where]


@dataclass(frozen=True)
class Edit:
    """A replacement of the activations at a hook point during a forward pass.

    change: takes activations [batch, seq, d] and returns their replacement.
    """

    at: HookPoint
    change: Callable[[torch.Tensor], torch.Tensor]

    @contextlib.contextmanager
    def applied(self, model: torch.nn.Module) -> Iterator[None]:
        """The model runs with this edit inside the block."""
        module = model.get_submodule(self.at.module)

        def replace(value: Any) -> Any:
            if isinstance(value, tuple):
                return (self.change(value[0]), *value[1:])
            return self.change(value)

        def replace_input(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return replace(args), kwargs
            first = next(iter(kwargs))
            return args, {**kwargs, first: self.change(kwargs[first])}

        if self.at.side == "in":
            handle = module.register_forward_pre_hook(replace_input, with_kwargs=True)
        else:
            handle = module.register_forward_hook(lambda _module, _args, output: replace(output))
        try:
            yield
        finally:
            handle.remove()


def _pieces(text: str, offsets: list[tuple[int, int]]) -> tuple[str, ...]:
    """The string of each token; tokens that share one character give it to the last of them."""
    pieces: list[str] = []
    start = 0
    for place, (_, end) in enumerate(offsets):
        last = place + 1 == len(offsets)
        shared = not last and offsets[place + 1][0] < end
        stop = len(text) if last else start if shared else max(end, start)
        pieces.append(text[start:stop])
        start = stop
    return tuple(pieces)


def tensor_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of named tensors: their names, shapes, types and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous()
        found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
