"""Networks of transformers that make masks, wrapped so that a call takes an image and returns the raw masks that count."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_MASK2FORMER_SIZE = (384, 384)


class PointPrompted(nn.Module):
    """SAM or SAM 2, asked for masks at many points.

    Args:
        model: ``SamModel`` or ``Sam2Model``.
        pred_iou: Masks whose predicted IoU is not above it are left out at once.
        points_per_call: Points that are decoded together.
    """

    def __init__(self, model: nn.Module, pred_iou: float, points_per_call: int):
        super().__init__()
        self.model: Any = model
        self.pred_iou = pred_iou
        self.points_per_call = points_per_call

    def forward(self, pixel_values: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Compute masks.

        Args:
            pixel_values: Normalised square image, ``(1, 3, S, S)`` float32.
            points: ``(x, y)`` in its pixels, ``(P, 2)`` float32.

        Returns:
            Logits ``(M, s, s)`` at a fraction of the size, and predicted IoU ``(M,)``, both float32.
        """
        embeddings = self.model.get_image_embeddings(pixel_values)
        masks, scores = [], []
        for some in points.split(self.points_per_call):
            output = self.model(image_embeddings=embeddings, input_points=some[None, :, None], multimask_output=True)
            ious = output.iou_scores[0].flatten()
            kept = ious > self.pred_iou
            masks.append(output.pred_masks[0].flatten(0, 1)[kept].float())
            scores.append(ious[kept].float())
        return torch.cat(masks), torch.cat(scores)


class Panoptic(nn.Module):
    """MaskFormer, Mask2Former or OneFormer.

    Args:
        model: The network with its heads.
        task: Token ids of ``the task is panoptic``, ``(1, L)``, for OneFormer; None for the others.
    """

    def __init__(self, model: nn.Module, task: Tensor | None):
        super().__init__()
        self.model: Any = model
        self.register_buffer("task", task, persistent=False)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the queries' masks.

        Args:
            pixel_values: Normalised image, ``(1, 3, H, W)`` float32.

        Returns:
            Class logits ``(Q, C + 1)``, the last for no object, and mask probabilities ``(Q, h, w)``, both float32.
        """
        inputs = {} if self.task is None else {"task_inputs": self.task}
        output = self.model(pixel_values=pixel_values, **inputs)
        logits = output.masks_queries_logits.float()
        if self.model.config.model_type == "mask2former":
            # Its processor enlarges logits to this size first; those of the others enlarge probabilities only.
            logits = F.interpolate(logits, _MASK2FORMER_SIZE, mode="bilinear", align_corners=False)
        return output.class_queries_logits[0].float(), logits[0].sigmoid()
