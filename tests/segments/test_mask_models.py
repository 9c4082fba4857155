"""SAM, SAM 2 and panoptic networks from tiny random checkpoints that transformers writes."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from subobject.segments.mask_formats import crop_mask  # noqa: E402
from subobject.segments.mask_models import PanopticSegmenter, PointPromptedSegmenter, suppress_boxes  # noqa: E402
from subobject.segments.pipeline import ImageSegmenter  # noqa: E402
from subobject.weights import WeightsError  # noqa: E402
from tests.boundaries.conftest import picture  # noqa: E402

from .twins import check_segmentation  # noqa: E402

PROMPT = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
DECODER = {"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
EASY = {"points_per_side": 4, "points_per_call": 5, "pred_iou": -1e9, "stability": -1.0, "box_nms": 0.7}


def sam():
    vision = {"hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64}
    vision |= {"patch_size": 16, "mlp_dim": 16, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 8}
    return transformers.SamModel(
        transformers.SamConfig(vision_config=vision, prompt_encoder_config=PROMPT, mask_decoder_config=DECODER)
    )


def sam2():
    backbone = {"model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64]}
    backbone |= {"blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64], "global_attention_blocks": [3]}
    backbone |= {"num_attention_heads_per_stage": [1, 1, 1, 1], "window_size_per_stage": [4, 4, 4, 4]}
    backbone |= {"window_positional_embedding_background_size": [4, 4]}
    vision = {"backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8], "fpn_hidden_size": 16}
    vision |= {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
    return transformers.Sam2Model(
        transformers.Sam2Config(vision_config=vision, prompt_encoder_config=PROMPT, mask_decoder_config=DECODER)
    )


def panoptic(kind: str):
    swin = {"image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 2}
    backbone = transformers.SwinConfig(**swin, out_features=["stage1", "stage2", "stage3", "stage4"])
    if kind == "maskformer":
        detr = transformers.DetrConfig(
            d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=6,
            encoder_attention_heads=2, decoder_attention_heads=2,
        )  # fmt: skip
        config = transformers.MaskFormerConfig(
            backbone_config=backbone, decoder_config=detr, fpn_feature_size=32, mask_feature_size=32, num_labels=3
        )
        return transformers.MaskFormerForInstanceSegmentation(config)
    sizes = {"hidden_dim": 32, "num_attention_heads": 2, "num_queries": 6, "num_labels": 3, "encoder_layers": 1}
    sizes |= {"decoder_layers": 2, "dim_feedforward": 16, "encoder_feedforward_dim": 16}
    if kind == "mask2former":
        config = transformers.Mask2FormerConfig(backbone_config=backbone, feature_size=32, mask_feature_size=32, **sizes)
        return transformers.Mask2FormerForUniversalSegmentation(config)
    config = transformers.OneFormerConfig(
        backbone_config=backbone, conv_dim=32, mask_dim=32, query_dec_layers=1, is_training=False, task_seq_len=7, max_seq_len=7,
        **sizes,
    )  # fmt: skip
    return transformers.OneFormerForUniversalSegmentation(config)


def sure(model):
    """Give a panoptic network clear opinions, so that small differences of arithmetic decide nothing."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "class_predictor" in name:
                value *= 100
            elif "mask_embedder" in name and value.ndim > 1:
                value *= 4
    return model


def write_clip_tokenizer(folder: Path) -> None:
    """Words of single letters: as small as a CLIP tokenizer can be."""
    words = [chr(letter) + end for letter in range(ord("a"), ord("z") + 1) for end in ("", "</w>")]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    made = {
        "sam": sam,
        "sam2": sam2,
        **{kind: lambda kind=kind: panoptic(kind) for kind in ("maskformer", "mask2former", "oneformer")},
    }
    folders = {}
    for name, make in made.items():
        folders[name] = tmp_path_factory.mktemp(name)
        sure(make()).eval().save_pretrained(folders[name])
        size = {"longest_edge": 64} if name == "sam" else {"height": 64, "width": 64}
        processor = {"size": size, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.3]}
        (folders[name] / "preprocessor_config.json").write_text(json.dumps(processor))
    write_clip_tokenizer(folders["oneformer"])
    return folders


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_points_give_the_masks_of_transformers(checkpoints, name):
    """At the network's own size nothing is resized but the masks; every mask is asked for by one point alone."""
    segmenter = PointPromptedSegmenter.from_pretrained(checkpoints[name], device="cpu", **(EASY | {"box_nms": 2.0}))
    image = picture(64, 64)
    found = segmenter.masks(image)
    model_class = transformers.SamModel if name == "sam" else transformers.Sam2Model
    model = model_class.from_pretrained(checkpoints[name]).eval()
    pixels = (
        torch.from_numpy(image).permute(2, 0, 1).float() / 255 - torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    ) / torch.tensor([0.2, 0.2, 0.3])[:, None, None]
    scores, masks = [], []
    with torch.inference_mode():
        for y in (8, 24, 40, 56):
            for x in (8, 24, 40, 56):
                output = model(pixel_values=pixels[None], input_points=torch.tensor([[[[x, y]]]]).float(), multimask_output=True)
                scores += output.iou_scores[0, 0].tolist()
                full = torch.nn.functional.interpolate(output.pred_masks[0], size=(64, 64), mode="bilinear", align_corners=False)
                masks += list((full[0] > 0).numpy())
    nonempty = [i for i in range(len(masks)) if masks[i].any()]
    assert sorted(found.scores) == pytest.approx(sorted(scores[i] for i in nonempty), abs=1e-4)
    areas = sorted(int(masks[i].sum()) for i in nonempty)
    assert np.abs(np.subtract(sorted(mask.area for mask in found.masks), areas)).max() <= 3


@pytest.mark.parametrize("name", ["sam", "sam2", "maskformer", "mask2former", "oneformer"])
def test_networks_are_segmenters(checkpoints, name):
    options = EASY if name.startswith("sam") else {"threshold": 0.0, "overlap": 0.0}
    loader = PointPromptedSegmenter if name.startswith("sam") else PanopticSegmenter
    segmenter = loader.from_pretrained(checkpoints[name], device="cpu", **options)
    for size_hw in ((40, 60), (31, 17)):
        segmentation = segmenter(picture(*size_hw), None, 5)
        check_segmentation(segmentation, size_hw)
        assert segmentation.num_segments <= 5
    assert len(segmenter.masks(picture(40, 60)).masks) >= 1


@pytest.mark.parametrize("name", ["maskformer", "mask2former"])
def test_panoptic_segments_are_those_of_transformers(checkpoints, name):
    segmenter = PanopticSegmenter.from_pretrained(checkpoints[name], device="cpu", threshold=0.5, overlap=0.0)
    image = picture(64, 64)
    model_class, processor_class = {
        "maskformer": (transformers.MaskFormerForInstanceSegmentation, transformers.MaskFormerImageProcessorPil),
        "mask2former": (transformers.Mask2FormerForUniversalSegmentation, transformers.Mask2FormerImageProcessorPil),
    }[name]
    model = model_class.from_pretrained(checkpoints[name]).eval()
    pixels = torch.from_numpy(segmenter.processor.normalise(image))
    with torch.inference_mode():
        output = model(pixel_values=pixels)
    (expected,) = processor_class().post_process_panoptic_segmentation(
        output, threshold=0.5, overlap_mask_area_threshold=0.0, target_sizes=[(64, 64)], label_ids_to_fuse=set()
    )
    found = segmenter.masks(image)
    ours = np.full((64, 64), 0)
    for i, mask in enumerate(found.masks, start=1):
        ours[mask.window][mask.inside] = i
    theirs = expected["segmentation"].numpy()
    # transformers leaves out segments of which no pixel is sure even after weighting with the class; their pixels are 0 there.
    assert 1 <= len(expected["segments_info"]) <= len(found.masks)
    ours, theirs = ours[theirs > 0], theirs[theirs > 0]
    agreeing = sum(np.bincount(theirs[ours == one].astype(int)).max() for one in np.unique(ours))
    assert agreeing / ours.size > 0.97


def test_thresholds_leave_masks_out(checkpoints):
    def count(**options):
        return len(
            PointPromptedSegmenter.from_pretrained(checkpoints["sam"], device="cpu", **(EASY | options))
            .masks(picture(40, 60))
            .masks
        )

    assert count(pred_iou=1e9) == 0
    assert count(stability=2.0) == 0
    assert count(box_nms=2.0) > count(box_nms=0.1) >= 1
    segmenter = PointPromptedSegmenter.from_pretrained(checkpoints["sam"], device="cpu", **(EASY | {"pred_iou": 1e9}))
    assert segmenter(picture(40, 60)).num_segments == 1


def test_boxes_are_suppressed_in_order():
    full = np.zeros((4, 10, 10), bool)
    full[0, :8, :8], full[1, :8, :7], full[2, 5:, 5:] = True, True, True
    assert suppress_boxes([crop_mask(mask) for mask in full], 0.7) == [0, 2]
    assert suppress_boxes([crop_mask(mask) for mask in full], 0.9) == [0, 1, 2]


def test_the_pipeline_opens_them_by_name(checkpoints):
    cutter = ImageSegmenter.load("panoptic", weights=checkpoints["mask2former"], device="cpu")
    check_segmentation(cutter(picture(30, 44), max_segments=3), (30, 44))
    with pytest.raises(ValueError, match="'sam' needs the folder or hub id of its weights"):
        ImageSegmenter.load("sam")
    with pytest.raises(WeightsError, match="model_type is 'mask2former', expected one of sam, sam2"):
        ImageSegmenter.load("sam", weights=checkpoints["mask2former"])
