"""The temporal SAE (`tsae`): some latents are to stay the same from one token to the next.

Bhalla, Oesterling, Verdun, Lakkaraju, Calmon 2025 (arXiv 2511.05541), after their text and their
released code. It is a BatchTopK SAE whose first h latents are high-level: they reconstruct alone as
well as with the others, and agree with those of an earlier token. With x the token, x' the earlier
one, f their latents and z = f[:h], the loss is the mean over the batch of

    high · |x - b - W_dec[:h]ᵀ z|² + low · |x - b - W_decᵀ f|² + alpha · contrast + AuxK,

where contrast is the cross-entropy of finding, among the z' of the batch, the one that belongs to z,
and the other way round (symmetric InfoNCE), by their similarity over a temperature T. x' is encoded
by a BatchTopK of its own and is not reconstructed.

Neither text nor code says in which units activations are, and a dot product has their square. Here
|x| is about √d_in, as SAELens scales it. Of raw dot products the largest then takes all, so that T
is √d_in unless set, and the contrast of dot products is multiplied by T, whose gradient on a code is
thus of the size of a code whatever T is. T = 1 is the released formula.

Where the paper and the released code differ, this is the setting, and the first is the default:

    similarity     dot (released), or cosine (paper). Cosine with temperature 1, which is what the
                   paper's formula says, hardly moves anything: its T is .1 unless set
    group_weights  released: high = .1, low = .4. paper: high = low = 1, with which words that come
                   often keep topics out of the high-level latents on some starts
    positive       previous: x' is the token before (paper). random_earlier: any token before it in
                   the window (the released default)
    alpha          1 (paper), .1 (released)

Decoder rows count as of norm 1 (`rescale_acts_by_decoder_norm`), b starts at 0 and not at the
geometric median, and the threshold is SAELens's running mean. It is saved as `jumprelu`; the
metadata have `high_level_fraction`, and the high-level latents are the first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.sae import TrainStepInput, TrainStepOutput
from torch.nn.functional import cross_entropy, normalize

from ..errors import SAEError

#: Weights of the reconstruction by the high-level latents and by all.
GROUP_WEIGHTS = {"paper": (1.0, 1.0), "released": (0.1, 0.4)}

#: What cosines are divided by, unless it is set.
COSINE_TEMPERATURE = 0.1


@dataclass
class TemporalTrainingSAEConfig(BatchTopKTrainingSAEConfig):
    """Settings of the module's formula.

    high_level_fraction: h / d_sae. temperature: T, None for √d_in or COSINE_TEMPERATURE.
    """

    rows: ClassVar[str] = "pairs"

    k: float = 20
    aux_loss_coefficient: float = 1 / 32
    high_level_fraction: float = 0.2
    alpha: float = 1.0
    similarity: Literal["dot", "cosine"] = "dot"
    temperature: float | None = None
    group_weights: Literal["paper", "released"] = "released"
    positive: Literal["previous", "random_earlier"] = "previous"

    @classmethod
    def architecture(cls) -> str:
        return "tsae"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.high_level < self.d_sae:
            raise SAEError(
                f"high_level_fraction {self.high_level_fraction} makes {self.high_level} of "
                f"{self.d_sae} latents high-level: choose one that leaves some of both kinds."
            )
        self.metadata.high_level_fraction = self.high_level_fraction

    @property
    def high_level(self) -> int:
        """h, how many latents are high-level."""
        return round(self.high_level_fraction * self.d_sae)

    @property
    def divisor(self) -> float:
        """T, what similarities are divided by."""
        own = self.d_in**0.5 if self.similarity == "dot" else COSINE_TEMPERATURE
        return self.temperature or own


class TemporalTrainingSAE(BatchTopKTrainingSAE):
    """Trains on pairs: rows [2B, d_in], first the B tokens, then the B earlier ones in that order.

    The step returns latents of the B tokens only. Raises SAEError for an odd number of rows.
    """

    cfg: TemporalTrainingSAEConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        rows = step_input.sae_in
        if len(rows) % 2:
            raise SAEError(
                f"A temporal SAE trains on pairs of tokens, and {len(rows)} rows are no pairs: "
                f"train it with `sagescope train`, or give 2B rows, the earlier tokens last."
            )
        tokens, earlier = rows.chunk(2)
        output = super().training_forward_pass(replace(step_input, sae_in=tokens))
        of_high, of_all = GROUP_WEIGHTS[self.cfg.group_weights]
        added = {"high_level_loss": of_high * self._alone(output.feature_acts, tokens)}
        if self.cfg.alpha:
            added["contrastive_loss"] = self.cfg.alpha * self._contrast(output, earlier)
        output.losses |= added
        output.loss = output.loss + (of_all - 1) * output.losses["mse_loss"] + sum(added.values())
        return output

    def _alone(self, feature_acts: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """How far the high-level latents alone are from the tokens: a scalar."""
        high = torch.arange(self.cfg.d_sae, device=self.device) < self.cfg.high_level
        made = self.decode(feature_acts * high)
        return self.mse_loss_fn(made, tokens).sum(-1).mean()

    def _contrast(self, output: TrainStepOutput, earlier: torch.Tensor) -> torch.Tensor:
        before, _ = self.encode_with_hidden_pre(earlier)
        # Products of many codes are too coarse in bfloat16 to tell the largest from the next.
        with torch.autocast(self.device.type, enabled=False):
            found = contrast(
                output.feature_acts[:, : self.cfg.high_level].float(),
                before[:, : self.cfg.high_level].float(),
                self.cfg.similarity,
                self.cfg.divisor,
            )
        return found * (self.cfg.divisor if self.cfg.similarity == "dot" else 1.0)


def contrast(
    codes: torch.Tensor, earlier: torch.Tensor, similarity: str, temperature: float
) -> torch.Tensor:
    """Symmetric InfoNCE of codes [B, h] and those of the earlier tokens [B, h]: a scalar.

    Row i belongs to row i, and to no other. log B is what codes give that say nothing.
    """
    if similarity == "cosine":
        codes, earlier = normalize(codes, dim=-1), normalize(earlier, dim=-1)
    logits = codes @ earlier.T / temperature
    own = torch.arange(len(codes), device=codes.device)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
