"""JPEG and WebP within a number of bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from subobject.images import read_image
from subobject.metrics.codecs import CODECS, code_within
from subobject.metrics.reconstruction import psnr


@pytest.fixture
def photo(photos):
    return read_image(photos / "coffee.png")[100:228, 200:392]


@pytest.mark.parametrize("codec", CODECS)
def test_the_best_quality_that_fits_is_taken(codec, photo):
    picture, size = code_within(photo, codec, 4000)
    name, best = CODECS[codec]
    options = {"optimize": True} if name == "JPEG" else {"method": 4}
    fitting = []
    for quality in range(1, best + 1):
        stream = io.BytesIO()
        Image.fromarray(photo).save(stream, name, quality=quality, **options)
        if stream.tell() <= 4000:
            fitting.append((quality, stream))
    _, expected = max(fitting, key=lambda pair: pair[0])
    assert size == expected.tell() <= 4000
    assert np.array_equal(picture, np.asarray(Image.open(expected).convert("RGB")))


@pytest.mark.parametrize("codec", CODECS)
def test_more_bytes_give_a_better_picture_even_where_it_must_shrink(codec, photo):
    qualities = []
    for allowed in (700, 1500, 6000):
        picture, size = code_within(photo, codec, allowed)
        assert size <= allowed
        assert picture.shape == photo.shape
        qualities.append(psnr(photo, picture))
    assert qualities[0] < qualities[1] < qualities[2]


def test_mistakes_get_a_sentence(photo):
    with pytest.raises(ValueError, match="no JPEG file fits into 20 bytes"):
        code_within(photo, "jpeg", 20)
    with pytest.raises(ValueError, match="unknown codec 'png'"):
        code_within(photo, "png", 2000)
