"""Tiny data sets in the official layouts, written by the tests."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

SIZE = (30, 40)


def picture(seed: int = 0, size_hw: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def halves(column: int = 15, size_hw: tuple[int, int] = SIZE) -> np.ndarray:
    """Two segments side by side, 0 and 1."""
    labels = np.zeros(size_hw, np.uint8)
    labels[:, column:] = 1
    return labels


def overlapping_masks(size_hw: tuple[int, int] = SIZE) -> np.ndarray:
    """A large rectangle, a small one inside it, one that touches the large one, and one that crosses it."""
    masks = np.zeros((4, *size_hw), bool)
    masks[0, 4:26, 4:22] = True
    masks[1, 8:14, 8:14] = True
    masks[2, 4:26, 22:30] = True
    masks[3, 20:29, 2:12] = True
    return masks


def sa1b_json(name: str, masks: np.ndarray) -> dict:
    """The annotation file of SA-1B: image record, and one record a mask with run lengths as pycocotools writes them."""
    height, width = masks.shape[1:]
    annotations = []
    for i, mask in enumerate(masks):
        rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        annotations.append(
            {
                "id": i,
                "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
                "bbox": coco.toBbox(rle).tolist(),
                "area": int(mask.sum()),
                "predicted_iou": 0.9 + 0.01 * i,
                "stability_score": 0.97,
                "crop_box": [0.0, 0.0, width, height],
                "point_coords": [[1.0, 1.0]],
            }
        )
    image = {"image_id": int(name.partition("_")[2]), "width": width, "height": height, "file_name": f"{name}.jpg"}
    return {"image": image, "annotations": annotations}


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def sa1b_members(numbers: range, size_hw: tuple[int, int] = SIZE) -> dict[str, bytes]:
    members = {}
    for number in numbers:
        name = f"sa_{number}"
        members[f"{name}.jpg"] = jpeg(picture(number, size_hw))
        members[f"{name}.json"] = json.dumps(sa1b_json(name, overlapping_masks(size_hw))).encode()
    return members


def write_sa1b(folder: Path, archives: int = 2, images: int = 3, size_hw: tuple[int, int] = SIZE) -> Path:
    for archive in range(archives):
        first = archive * images + 1
        write_tar(folder / f"sa_{archive:06d}.tar", sa1b_members(range(first, first + images), size_hw))
    return folder


def write_ade20k(folder: Path) -> Path:
    for part, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        labels = halves() + 3
        labels[0, 0] = 0
        save(folder / "images" / part / f"{name}.jpg", picture())
        save(folder / "annotations" / part / f"{name}.png", labels)
    return folder


def write_coco_panoptic(folder: Path, split: str = "val2017") -> Path:
    """One image; segments 70000 (left) and 5 (right), and a void pixel."""
    numbers = np.where(halves() == 0, 70000, 5)
    numbers[0, 0] = 0
    colours = np.stack([numbers % 256, numbers // 256 % 256, numbers // 256**2], axis=2).astype(np.uint8)
    save(folder / split / "000000000139.jpg", picture())
    save(folder / "annotations" / f"panoptic_{split}" / "000000000139.png", colours)
    info = [{"id": number, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1} for number in (70000, 5)]
    listed = {
        "images": [{"id": 139, "file_name": "000000000139.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [{"image_id": 139, "file_name": "000000000139.png", "segments_info": info}],
        "categories": [{"id": 1, "name": "person", "isthing": 1}],
    }
    (folder / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(listed))
    return folder


def write_folder(folder: Path, annotators: int = 1) -> Path:
    for name in ("a", "b"):
        save(folder / "images" / f"{name}.png", picture())
        for i in range(annotators):
            suffix = f"_{i}" if annotators > 1 else ""
            save(folder / "labels" / f"{name}{suffix}.png", halves(15 + i))
    return folder


def write_bsds500(folder: Path, split: str = "train", annotators: int = 2) -> Path:
    for name in ("1", "2"):
        save(folder / "images" / split / f"{name}.jpg", picture(int(name)))
        for i in range(annotators):
            save(folder / "labels" / split / f"{name}_{i}.png", halves(15 + i) + 1)
            save(folder / "boundaries" / split / f"{name}_{i}.png", halves(15 + i) * 255)
    return folder
