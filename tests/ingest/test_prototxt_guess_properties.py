"""Guesses at misspelt names: slips are mended, names that forks tell apart by a word or a letter are not."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.ingest.prototxt.layers import DROPPED, REFUSED, TRANSLATORS
from trunkline.ingest.prototxt.text.forks import FIELDS, WORDS
from trunkline.ingest.prototxt.text.guess import guess

TYPES = sorted({*TRANSLATORS, *DROPPED, "Input"})
WINDOW = (
    "dilation",
    "kernel_h",
    "kernel_size",
    "kernel_w",
    "num_output",
    "pad",
    "pad_h",
    "pad_w",
    "stride",
    "stride_h",
)
"""Fields of a convolution, as a guess sees them."""


@pytest.mark.golden
@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("Relu", TYPES, "ReLU"),
        ("RELU", TYPES, "ReLU"),
        ("Batch_Norm", TYPES, "BatchNorm"),
        ("Eltwis", TYPES, "Eltwise"),
        ("Convolutoin", TYPES, "Convolution"),
        ("Covolution", TYPES, "Convolution"),
        ("Poolling", TYPES, "Pooling"),
        ("pda", WINDOW, "pad"),
        ("num_ouput", WINDOW, "num_output"),
        ("numOutput", WINDOW, "num_output"),
        ("MAXX", ("MAX", "AVE"), "MAX"),
    ],
)
def test_slips_are_mended(word: str, known: tuple[str, ...], meant: str) -> None:
    assert guess(word, known) == f'did you mean "{meant}"?'


@pytest.mark.golden
@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("AutoCrop", ("Crop", "Axpy")),  # computes where to cut
        ("Region", TYPES),  # Darknet's detector, not Reduction
        ("Selu", TYPES),
        ("Gelu", TYPES),
        ("Silu", TYPES),
        ("Unpool", TYPES),
        ("Resize", TYPES),
        ("Convolution3D", TYPES),
        ("ConvolutionData", TYPES),
        ("pad_l", WINDOW),
        ("pad_d", WINDOW),
        ("kernel_d", WINDOW),
        ("stride_3", WINDOW),
        ("padding", WINDOW),
        ("AVE_TF", ("MAX", "AVE")),
        ("MIN", ("MAX", "AVE")),
        ("quantization_param", ("convolution_param", "param")),
        ("convolution3d_param", ("convolution_param", "param")),
        ("conv3", ("conv1", "conv2")),
        ("conv1_12", ("conv11_2",)),
        ("conv123", ("conv132",)),
        ("", TYPES),
    ],
)
def test_other_names_are_no_slips(word: str, known: tuple[str, ...]) -> None:
    assert guess(word, known) == ""


@pytest.mark.golden
def test_blob_names_may_be_short() -> None:
    assert guess("dat", ("data", "label"), shortest=3) == 'did you mean "data"?'
    assert guess("dat", ("data", "label")) == ""
    assert guess("res100", ("res101",), shortest=3) == ""


@pytest.mark.golden
def test_ambiguous_names_are_not_guessed() -> None:
    """Where two known names are equally near, neither is offered."""
    assert guess("stribe", ("stride", "strife")) == ""


@pytest.mark.golden
@pytest.mark.parametrize("names", [TYPES, WINDOW, ("MAX", "AVE", "STOCHASTIC", "AVE_EXC_PAD", "AVE_TF")])
def test_known_names_are_no_slips_of_others(names: tuple[str, ...]) -> None:
    """Each is a name with a meaning of its own: were one not known, the others must not be offered for it."""
    for name in names:
        assert guess(name, [other for other in names if other != name]) == ""


@pytest.mark.golden
@pytest.mark.parametrize("name", [*FIELDS, *WORDS, *REFUSED])
def test_fork_words_are_no_slips(name: str) -> None:
    """A word that has a meaning in a fork is never taken for one that is read."""
    assert guess(name, [*TYPES, *WINDOW, "PROD", "SUM", "MAX", "AVE"]) == ""


words = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=9), min_size=1, max_size=4)


@pytest.mark.properties
@settings(max_examples=300, deadline=None)
@given(words, words)
def test_guesses_keep_the_words(first: list[str], second: list[str]) -> None:
    """A guess has as many words as the name, and the same short ones."""
    if guess("_".join(first), ["_".join(second)]) and "".join(first) != "".join(second):
        assert len(first) == len(second)
        assert all(a == b for a, b in zip(first, second, strict=True) if min(len(a), len(b)) < 3)


@pytest.mark.properties
@settings(max_examples=300, deadline=None)
@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=5))
def test_guesses_accept_any_text(word: str, known: list[str]) -> None:
    answer = guess(word, known)
    assert answer == "" or any(f'"{name}"' in answer for name in known)


@pytest.mark.properties
@settings(max_examples=200, deadline=None)
@given(st.sampled_from([name for name in TYPES if len(name) > 6]), st.data())
def test_missing_letter_is_mended_or_left(name: str, data: st.DataObject) -> None:
    """Never another layer: some letters decide whether a name is one word or two, and then nothing is offered."""
    place = data.draw(st.integers(1, len(name) - 1))
    assert guess(name[:place] + name[place + 1 :], TYPES) in ("", f'did you mean "{name}"?')
