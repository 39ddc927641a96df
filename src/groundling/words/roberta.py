"""RoBERTa as text encoder: words in as MDETR reads them.

Shapes: E expressions, L tokens, D channels; padding (E, L) is True where there is no token.
"""

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from groundling.layers.fused import adopt
from groundling.layers.macs import Count
from groundling.words.bert import TextConfig, encoder_macs, features, hf_sizes
from groundling.words.byte_pairs import PAD
from groundling.words.tokens import Tokens


class RobertaTextConfig(TextConfig):
    """RoBERTa's sizes; the defaults are roberta-base as MDETR reads it, up to 256 tokens."""

    vocabulary: int = Field(50_265, gt=0, le=1_000_000)
    layers: int = Field(12, gt=0, le=100)
    tokens: int = Field(256, ge=3, le=512)
    positions: int = Field(514, ge=5, le=514)  # the first two belong to no token

    @model_validator(mode="after")
    def _positions_suffice(self) -> "RobertaTextConfig":
        if self.positions < self.tokens + PAD + 1:
            raise ValueError(
                f"text.positions {self.positions} must be at least text.tokens {self.tokens} and {PAD + 1}"
            )
        return self


class RobertaEncoder(nn.Module):
    """RoBERTa: ids (E, L) → features (E, L, D). Keys are HF's below `roberta.`."""

    def __init__(self, config: RobertaTextConfig) -> None:
        super().__init__()
        from transformers import RobertaConfig, RobertaModel

        self.config = config
        own = {"max_position_embeddings": config.positions, "pad_token_id": PAD}
        sizes = RobertaConfig(**hf_sizes(config), **own, type_vocab_size=1, layer_norm_eps=1e-5)
        self.roberta = adopt(RobertaModel(sizes, add_pooling_layer=False))

    def forward(self, tokens: Tokens) -> Tensor:
        """Features (E, L, D) of the last layer; those of padding mean nothing."""
        return features(self.roberta, tokens, _positions(tokens))

    def macs(self) -> Count:
        """MACs of a text."""
        return encoder_macs(self.config)


def _positions(tokens: Tokens) -> Tensor:
    """2, 3, … along each row's tokens; that of <pad> is its own index, as HF counts."""
    counted = PAD + torch.arange(1, tokens.ids.shape[1] + 1, device=tokens.ids.device)
    return counted.expand_as(tokens.ids).masked_fill(tokens.padding, PAD)
