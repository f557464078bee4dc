"""The README's moving picture shows what the package computes, and is fresh."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dpo_edu.training import fit_table
from tools import check, picture

LAST = picture.STEPS[-1]


@pytest.fixture(scope="module")
def walks() -> dict[int, list[np.ndarray]]:
    return {n: list(picture.walk(picture.votes(n))) for n in picture.SIZES}


@pytest.mark.parametrize("n", picture.SIZES)
def test_the_dots_go_from_the_reference_to_what_newtons_method_finds(
    walks: dict[int, list[np.ndarray]], n: int
) -> None:
    refs = np.tile(picture.REF, (picture.EACH, 1))
    best = np.exp(fit_table(refs, picture.votes(n), beta=picture.BETA).log_probs)
    np.testing.assert_allclose(walks[n][0], refs, atol=1e-15)
    np.testing.assert_allclose(walks[n][-1], best, atol=1e-3)
    assert np.abs(walks[n][20] - best).max() > 0.01  # on their way


def png(image: Image.Image) -> str:
    with io.BytesIO() as buffer:
        image.convert("RGB").save(buffer, "PNG")
        return base64.b64encode(buffer.getvalue()).decode()


def test_the_committed_picture_is_fresh_and_ends(walks: dict[int, list[np.ndarray]]) -> None:
    committed = Image.open(picture.PICTURE)
    assert committed.n_frames == len(picture.STEPS)
    assert "loop" not in committed.info  # it runs once
    picture.plots.use_style()
    for k, step in ((0, 0), (len(picture.STEPS) - 1, LAST)):
        committed.seek(k)
        drawn = png(picture.frame(step, {n: walk[k] for n, walk in walks.items()}))
        assert list(check.pictures_differ(png(committed), drawn)) == [], "run `make picture`"
    other = png(picture.frame(LAST, {n: walk[0] for n, walk in walks.items()}))
    assert list(check.pictures_differ(png(committed), other))  # dots elsewhere are noticed
