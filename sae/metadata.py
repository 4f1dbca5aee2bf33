"""What an SAE says about itself: the part of SAELens's metadata that Sagescope reads, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import SAEError


class Metadata(BaseModel):
    """How an SAE's subject model was prepared; None is what its maker did not say.

    hook_name, hf_hook_name: what it reads, as TransformerLens and as Hugging Face call it; with
    `_out`, what it makes, where that is something else. hook_head_index: the one attention head
    that it reads. context_size: tokens, the BOS token included. model_from_pretrained_kwargs: how
    TransformerLens was told to load the model. Whatever else is there is kept as it is.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, protected_namespaces=())

    model_name: str | None = None
    hook_name: str | None = None
    hf_hook_name: str | None = None
    hook_name_out: str | None = None
    hf_hook_name_out: str | None = None
    hook_head_index: Annotated[int, Field(ge=0)] | None = None
    context_size: Annotated[int, Field(ge=2)] | None = None
    prepend_bos: bool | None = None
    model_from_pretrained_kwargs: dict[str, Any] | None = None

    @classmethod
    def of(cls, sae: str, found: Mapping[str, Any]) -> Metadata:
        """The metadata of the SAE of that name. Raises SAEError, which names what is wrong."""
        try:
            return cls.model_validate(dict(found))
        except ValidationError as error:
            wrong = error.errors()[0]
            place = ".".join(map(str, wrong["loc"]))
            raise SAEError(
                f"The metadata of {sae} makes no sense: {place} is {wrong['input']!r:.40} "
                f"({wrong['msg']}). Mend its cfg.json."
            ) from error
