"""Moving average of a model's weights during ``transformers.Trainer`` runs."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

FILE_NAME = "ema.safetensors"


class MovingAverage(TrainerCallback):
    """Average the weights after every step, keep the average beside each checkpoint, and end with it in the model.

    The decay grows from 0 as ``(1 + step) / (10 + step)`` so that the random start is forgotten at once.

    Args:
        decay: Share of the old average kept at each step.
        resume_from: Checkpoint folder to continue from, or ``None``.
    """

    def __init__(self, decay: float, resume_from: str | None):
        self.decay = decay
        self.resume_from = resume_from
        self.average: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **kwargs: Any) -> None:
        if self.resume_from is None:
            self.average = {name: value.detach().clone() for name, value in _state(model).items()}
        else:
            device = next(_unwrap(model).parameters()).device
            self.average = load_file(Path(self.resume_from) / FILE_NAME, device=str(device))

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **kwargs: Any) -> None:
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        for name, value in _state(model).items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        checkpoint = get_last_checkpoint(args.output_dir)
        if checkpoint is not None and state.is_world_process_zero:
            path = Path(checkpoint) / FILE_NAME
            save_file({name: value.contiguous() for name, value in self.average.items()}, path.with_suffix(".partial"))
            path.with_suffix(".partial").replace(path)

    def on_train_end(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **kwargs: Any) -> None:
        _unwrap(model).load_state_dict(self.average)


def _unwrap(model: nn.Module | None) -> nn.Module:
    assert model is not None, "Trainer passes the model to every callback"
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def _state(model: nn.Module | None) -> dict[str, torch.Tensor]:
    return _unwrap(model).state_dict()
