"""Number formats against other libraries and by hand."""

import numpy as np
import pytest

from subobject.tokens.store.quantise import FORMATS, vector_format


@pytest.fixture
def vectors() -> np.ndarray:
    """Vectors whose values span 12 orders of magnitude, with zeros of both signs."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((500, 64)) * 10.0 ** rng.uniform(-6, 4, (500, 64))
    values[:, :2] = 0.0, -0.0
    return values.astype(np.float32)


@pytest.mark.parametrize(("name", "dtype"), [("float8", "float8_e4m3fn"), ("bfloat16", "bfloat16")])
def test_codes_are_those_of_ml_dtypes(name, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    form = vector_format(name)
    # Every float32 whose lower 12 bits are 0: all codes of either format, all midpoints between them, and what lies around.
    values = (np.arange(2**20, dtype=np.uint32) << 12).view(np.float32)
    values = values[np.abs(values) <= form.limit]
    expected = values.astype(getattr(ml_dtypes, dtype)).view(form.codes)
    assert np.array_equal(form.to_codes(values), expected)
    assert np.array_equal(form.to_values(expected), values.astype(getattr(ml_dtypes, dtype)).astype(np.float32))


@pytest.mark.parametrize("bits", [np.nextafter(np.float32(0.0205078125), np.float32(side)) for side in (0, 1)])
def test_float8_rounds_to_the_nearer_side_of_a_midpoint(bits):
    torch = pytest.importorskip("torch")
    expected = torch.tensor([bits]).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    assert np.array_equal(vector_format("float8").to_codes(np.array([bits])), expected)


def test_int8_by_hand():
    codes, scales = vector_format("int8").encode(np.array([[0.5, -1.27, 0.004, 0.006], [0, 0, 0, 0]], dtype=np.float32))
    assert codes.tolist() == [[50, -127, 0, 1], [0, 0, 0, 0]]
    assert scales == pytest.approx([0.01, 0])
    assert np.allclose(vector_format("int8").decode(codes, scales), [[0.5, -1.27, 0, 0.01], [0, 0, 0, 0]])


@pytest.mark.parametrize("name", FORMATS)
def test_the_error_is_within_half_a_step(name, vectors):
    form = vector_format(name)
    vectors = np.clip(vectors, -6e4, 6e4)
    codes, scales = form.encode(vectors)
    assert codes.dtype == form.codes
    assert (scales is not None) == form.scaled
    error = np.abs(form.decode(codes, scales) - vectors)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    bound = {
        "float32": np.zeros(1),
        "float16": np.abs(vectors) * 2.0**-11 + 2.0**-25,
        "bfloat16": np.abs(vectors) * 2.0**-8,
        "float8": np.abs(vectors) * 2.0**-4 + largest * 2.0**-10 / 448,
        "int8": largest / 127 * 0.5,
    }[name]
    assert np.all(error <= bound * 1.0001)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(name, bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        vector_format(name).encode(np.array([[1, bad]], dtype=np.float32))


def test_values_beyond_float16_are_refused():
    with pytest.raises(ValueError, match="beyond the range of float16: use float32"):
        vector_format("float16").encode(np.array([[1e5]], dtype=np.float32))


@pytest.mark.parametrize("name", ["float8", "int8"])
def test_scales_hold_any_magnitude(name):
    for magnitude in (1e-30, 1e30, 3.4e38):
        vectors = np.array([[magnitude, -magnitude / 2]], dtype=np.float32)
        form = vector_format(name)
        assert np.allclose(form.decode(*form.encode(vectors)), vectors, rtol=0.01)


def test_an_unknown_format_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'float16'"):
        vector_format("flaot16")


def test_the_command_line_knows_every_format():
    from subobject.cli.images import VectorType

    assert [one.value for one in VectorType] == list(FORMATS)
