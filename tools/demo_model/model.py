"""The Qwen3 architecture in PyTorch, quick to train; parameter names are Hugging Face's."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.demo_model.model_config import CONFIG


class Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(
            x, self.weight.shape, self.weight.to(x.dtype), CONFIG["rms_norm_eps"]
        )


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        hidden, head = CONFIG["hidden_size"], CONFIG["head_dim"]
        self.q_proj = nn.Linear(hidden, CONFIG["num_attention_heads"] * head, bias=False)
        self.k_proj = nn.Linear(hidden, CONFIG["num_key_value_heads"] * head, bias=False)
        self.v_proj = nn.Linear(hidden, CONFIG["num_key_value_heads"] * head, bias=False)
        self.o_proj = nn.Linear(CONFIG["num_attention_heads"] * head, hidden, bias=False)
        self.q_norm, self.k_norm = Norm(head), Norm(head)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        heads = (batch, length, -1, CONFIG["head_dim"])
        q = rotate(self.q_norm(self.q_proj(x).view(heads)).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(self.k_proj(x).view(heads)).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        group = CONFIG["num_attention_heads"] // CONFIG["num_key_value_heads"]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm = Norm(CONFIG["hidden_size"])
        self.self_attn = Attention()
        self.post_attention_layernorm = Norm(CONFIG["hidden_size"])
        self.mlp = MLP()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], CONFIG["hidden_size"])
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = Norm(CONFIG["hidden_size"])


class DemoModel(nn.Module):
    """Decoder with tied embeddings."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = Backbone()
        cos, sin = rope_table(CONFIG["max_position_embeddings"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        residual_scale = (2 * CONFIG["num_hidden_layers"]) ** -0.5
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                std = 0.02 if "embed" in name else weight.shape[1] ** -0.5
                nn.init.normal_(weight, std=std)
                if "o_proj" in name or "down_proj" in name:
                    weight.data.mul_(residual_scale)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return the final hidden states `[batch, length, hidden]` of `tokens[batch, length]`."""
        x = self.model.embed_tokens(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        if torch.is_autocast_enabled("cpu"):
            x, cos, sin = x.bfloat16(), cos.bfloat16(), sin.bfloat16()
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.model.norm(x)

    def loss(self, tokens: Tensor, targets: Tensor, count: Tensor) -> Tensor:
        """Return the mean cross entropy over `targets[batch, length]` that are not -100.

        `count`: how many targets there are in the whole batch of this step.
        """
        keep = (targets >= 0).flatten().nonzero().squeeze(1)
        hidden = self.hidden(tokens).flatten(0, 1)[keep]
        logits = functional.linear(hidden, self.model.embed_tokens.weight.to(hidden.dtype)).float()
        return functional.cross_entropy(logits, targets.flatten()[keep], reduction="sum") / count


def rope_table(length: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines `[length, head_dim]`, the halves repeated."""
    half = torch.arange(0, CONFIG["head_dim"], 2).double() / CONFIG["head_dim"]
    angle = (
        torch.arange(length).double()[:, None] * CONFIG["rope_parameters"]["rope_theta"] ** -half
    )
    angle = torch.cat((angle, angle), dim=1)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin
