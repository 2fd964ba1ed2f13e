"""Models: a `torch.nn.Module` whose forward returns (logits [B, C], latents [B, H])."""

from hill_sim.models.base import build_model

__all__ = ["build_model"]
