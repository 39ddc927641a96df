"""BERT as text encoder, and what it shares with RoBERTa.

Shapes: E expressions, L tokens, D channels; padding (E, L) is True where there is no token.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from groundling.layers.fused import adopt
from groundling.words.tokens import Tokens


class TextConfig(BaseModel):
    """BERT's sizes; the defaults are bert-base-uncased cut to LADS' six layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(30_522, gt=0, le=1_000_000)
    layers: int = Field(6, gt=0, le=100)
    dim: int = Field(768, gt=0, le=8192)
    heads: int = Field(12, gt=0, le=256)
    ffn: int = Field(3072, gt=0, le=65_536)
    tokens: int = Field(40, ge=3, le=512)  # BERT has 512 positions
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _divides(self) -> "TextConfig":
        if self.dim % self.heads:
            raise ValueError(f"text.dim {self.dim} must be a multiple of text.heads, {self.heads}")
        return self


class TextEncoder(nn.Module):
    """The first layers of BERT: ids (E, L) → features (E, L, D). Keys are HF's below `bert.`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        self.config = config
        self.bert = adopt(BertModel(BertConfig(**hf_sizes(config)), add_pooling_layer=False))

    def forward(self, tokens: Tokens) -> Tensor:
        """Features (E, L, D) of the last layer; those of padding mean nothing."""
        return features(self.bert, tokens)


def hf_sizes(config: TextConfig) -> dict[str, Any]:
    """The sizes of an encoder as transformers names them."""
    return {
        "vocab_size": config.vocabulary,
        "hidden_size": config.dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "attn_implementation": "sdpa",
    }


def features(encoder: nn.Module, tokens: Tokens, positions: Tensor | None = None) -> Tensor:
    """What an encoder of transformers says of tokens, (E, L, D); it counts positions that are not given."""
    mask = (~tokens.padding).long() if tokens.padded else None
    found: Tensor = encoder(
        input_ids=tokens.ids, attention_mask=mask, position_ids=positions
    ).last_hidden_state
    return found
