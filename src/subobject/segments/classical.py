"""Superpixels of OpenCV: SLIC, SEEDS and Felzenszwalb's graph segmentation, of the extra ``classical``.

All give 4-connected partitions at any image size. Their merge trees come from the colour gradient, so that a budget is met
exactly whenever the method makes at least as many segments. The superpixel methods do not hit a requested number, so they
are asked for somewhat more than the budget.
"""

import math

import numpy as np

from subobject.segments.colour import colour_gradient
from subobject.segments.partition import checked_budget, segmentation_from_labels
from subobject.structures import Boundaries, Segmentation

try:
    import cv2
    from cv2 import ximgproc
except ImportError:  # no OpenCV, or one without its contributed modules
    raise ModuleNotFoundError(
        'the segmenters slic, seeds and felzenszwalb need OpenCV with its contrib modules: pip install "subobject[classical]"'
    ) from None

_SURPLUS = 1.25
_SMALLEST_SIDE = 16


def _padded(image: np.ndarray) -> np.ndarray:
    """Repeat the last row and column until each side suits the methods of OpenCV, which fail on tiny images."""
    height, width = image.shape[:2]
    bottom, right = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)


def _lab(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.GaussianBlur(image, (3, 3), 0, borderType=cv2.BORDER_REPLICATE), cv2.COLOR_RGB2LAB)


class SLIC:
    """SLIC superpixels of OpenCV (Achanta et al., *SLIC Superpixels*, TPAMI 2012).

    Args:
        num_segments: Superpixels to ask for where a call gives no budget.
        compactness: Weight of position beside Lab colour (0 to 255).
        iterations: Rounds of clustering.
    """

    needs_boundaries = False

    def __init__(self, *, num_segments: int = 256, compactness: float = 10.0, iterations: int = 10) -> None:
        self.num_segments = num_segments
        self.compactness = compactness
        self.iterations = iterations

    def __call__(self, image: np.ndarray, boundaries: Boundaries | None = None, max_segments: int | None = None) -> Segmentation:
        """Segment one image ``(H, W, 3)`` uint8 RGB; the boundary map is not used."""
        wanted = checked_budget(max_segments, self.num_segments) * _SURPLUS
        height, width = image.shape[:2]
        region = max(2, round(math.sqrt(height * width / wanted)))
        slic = ximgproc.createSuperpixelSLIC(_lab(_padded(image)), ximgproc.SLIC, region, self.compactness)
        slic.iterate(self.iterations)
        slic.enforceLabelConnectivity()
        return segmentation_from_labels(slic.getLabels()[:height, :width], colour_gradient(image), max_segments)


class Seeds:
    """SEEDS superpixels of OpenCV (Van den Bergh et al., *SEEDS*, ECCV 2012).

    Args:
        num_segments: Superpixels to ask for where a call gives no budget.
        levels: Most block levels, at least 2; small images take fewer.
        iterations: Rounds at pixel level.
    """

    needs_boundaries = False

    def __init__(self, *, num_segments: int = 256, levels: int = 4, iterations: int = 10) -> None:
        self.num_segments = num_segments
        self.levels = levels
        self.iterations = iterations

    def __call__(self, image: np.ndarray, boundaries: Boundaries | None = None, max_segments: int | None = None) -> Segmentation:
        """Segment one image ``(H, W, 3)`` uint8 RGB; the boundary map is not used."""
        budget = checked_budget(max_segments, self.num_segments)
        height, width = image.shape[:2]
        lab = _lab(_padded(image))
        seeds = self._start(lab.shape[1], lab.shape[0], budget)
        seeds.iterate(lab, self.iterations)
        return segmentation_from_labels(seeds.getLabels()[:height, :width], colour_gradient(image), max_segments)

    def _start(self, width: int, height: int, budget: int) -> ximgproc.SuperpixelSEEDS:
        """Lay out at least ``budget`` blocks if the image is large enough.

        OpenCV rounds the number asked for down, often by half. It crashes when its grid would have no row or no column,
        or blocks of less than 2 pixels.
        """
        ratio = max(width, height) / min(width, height)
        asked = max(budget, math.ceil(math.ceil(ratio) ** 2 / ratio) + 1)
        most = width * height // 8
        asked = min(asked, most)
        while True:
            seeds = ximgproc.createSuperpixelSEEDS(width, height, 3, asked, self.levels, 2, 5, True)
            if seeds.getNumberOfSuperpixels() >= budget or asked == most:
                return seeds
            asked = min(most, math.ceil(asked * 1.2))


class Felzenszwalb:
    """Graph segmentation of OpenCV (Felzenszwalb and Huttenlocher, IJCV 2004), its scale searched for the number of segments.

    Args:
        num_segments: Segments to ask for where a call gives no budget.
        sigma: Smoothing before, in pixels.
        trials: Most scales to try.
    """

    needs_boundaries = False

    def __init__(self, *, num_segments: int = 256, sigma: float = 0.8, trials: int = 8) -> None:
        self.num_segments = num_segments
        self.sigma = sigma
        self.trials = trials

    def __call__(self, image: np.ndarray, boundaries: Boundaries | None = None, max_segments: int | None = None) -> Segmentation:
        """Segment one image ``(H, W, 3)`` uint8 RGB; the boundary map is not used."""
        wanted = checked_budget(max_segments, self.num_segments)
        height, width = image.shape[:2]
        lab = _lab(_padded(image))
        smallest = max(2, round(0.1 * height * width / wanted))
        graph = ximgproc.segmentation.createGraphSegmentation(self.sigma, 300.0, smallest)
        low, high = math.log(1.0), math.log(1e5)
        best, best_count = np.zeros((height, width), np.int32), 0
        for _ in range(self.trials):
            middle = (low + high) / 2
            graph.setK(math.exp(middle))
            labels = graph.processImage(lab)[:height, :width].astype(np.int32, copy=False)
            count = int(labels.max()) + 1
            # The coarsest result with enough segments is best, and short of that the finest.
            if (count >= wanted and (best_count < wanted or count < best_count)) or best_count < count < wanted:
                best, best_count = labels, count
            if wanted <= count <= _SURPLUS * wanted:
                break
            low, high = (middle, high) if count > wanted else (low, middle)
        return segmentation_from_labels(best, colour_gradient(image), max_segments)
