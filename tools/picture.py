"""The moving picture of the README: 800 policies on their way from the reference, by plain DPO.

python -m tools.picture

Each dot is a table over three responses that descends the DPO loss of its own votes, 100 or 1,000
of them. The curves are not fitted to the dots: they enclose what theory expects of 95 in 100.
The picture runs once and stays at its end.
"""

import io
from collections.abc import Iterator

import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch.nn.functional import logsigmoid
from tqdm import tqdm

from dpo_edu import gibbs, plots, preferences, statistics
from tools import notebooks

PICTURE = notebooks.ROOT / "docs" / "figures" / "training.gif"
REWARD, REF, BETA = np.array([0.0, 0.6, 1.0]), np.array([0.5, 0.3, 0.2]), 0.5
SIZES = {100: "more", 1000: "model"}  # votes of a policy, and the role of its colour
EACH, RATE = 400, 1.0
STEPS = sorted({round(1.17**k) for k in range(44)} | {0})  # shown; the last is step 855
FIRST, BETWEEN, LAST = 1500, 130, 6000  # milliseconds that a frame stays


def votes(n: int) -> np.ndarray:
    """How often response i beat response j in n votes, ``(EACH, 3, 3)``."""
    law = preferences.expected_wins(REWARD, REF)
    return np.random.default_rng([7, n]).multinomial(n, law.ravel(), EACH).reshape(-1, 3, 3)


def walk(wins: np.ndarray) -> Iterator[np.ndarray]:
    """The policies ``(B, 3)`` that descend the DPO losses of their votes, at each of STEPS."""
    share = torch.tensor(wins / wins.sum(axis=(1, 2), keepdims=True))
    log_ref = torch.tensor(np.log(REF))
    theta = torch.zeros(len(wins), 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=RATE)
    for step in range(STEPS[-1] + 1):
        log_pi = torch.log_softmax(log_ref + theta, dim=1)
        if step in STEPS:
            yield log_pi.exp().detach().numpy()
        r_hat = BETA * (log_pi - log_ref)
        loss = -(share * logsigmoid(r_hat[:, :, None] - r_hat[:, None, :])).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def region(n: int) -> np.ndarray:
    """The rim of what holds 95 of 100 policies trained on n votes, by the Cramér-Rao bound."""
    squares, axes = np.linalg.eigh(statistics.cramer_rao_bound(REWARD, REF, size=n))
    a, b = np.sqrt(-2 * np.log(0.05)) * (axes * np.sqrt(np.abs(squares))).T[1:]
    turn = np.linspace(0, 2 * np.pi, 200)[:, None]
    return gibbs.optimal_policy(REWARD + a * np.cos(turn) + b * np.sin(turn), REF, beta=BETA)


def frame(step: int, fleets: dict[int, np.ndarray]) -> Image.Image:
    """Where all policies are after so many steps."""
    fig, ax = plt.subplots(figsize=(7, 5.2), dpi=100)
    plots.simplex_axes(ax, ["response 0", "response 1", "response 2"])
    for n, role in SIZES.items():
        dots = plots.simplex_points(fleets[n])
        ax.plot(*dots.T, ".", color=plots.COLORS[role], ms=3.5, alpha=0.6, mew=0)
        plots.simplex_path(ax, region(n), plots.COLORS[role], lw=1.8)
    rims = {n: plots.simplex_points(region(n)) for n in SIZES}
    plots.annotate(
        ax, "100 votes", rims[100][rims[100][:, 0].argmin()], plots.COLORS["more"], (-6, 0)
    )
    right = rims[1000][(rims[1000] @ [0.9, -0.4]).argmax()]
    star = gibbs.optimal_policy(REWARD, REF, beta=BETA)
    plots.simplex_mark(ax, REF, r"$\pi_{\mathrm{ref}}$", plots.COLORS["ref"], (-10, 4))
    plots.simplex_mark(ax, star, "", plots.COLORS["truth"])
    plots.point_at(ax, "1,000 votes", right, plots.COLORS["model"], (0.86, 0.36))
    plots.point_at(ax, r"$\pi^*$", plots.simplex_points(star), plots.COLORS["truth"], (0.86, 0.5))
    ax.set_title(f"DPO from the reference to the optimum: step {step}")
    with io.BytesIO() as buffer:
        fig.savefig(buffer, format="png")
        plt.close(fig)
        return Image.open(buffer).convert("RGB")


def frames() -> Iterator[Image.Image]:
    """All pictures in order."""
    plots.use_style()
    walks = zip(*(walk(votes(n)) for n in SIZES), strict=True)
    for step, policies in zip(tqdm(STEPS), walks, strict=True):
        yield frame(step, dict(zip(SIZES, policies, strict=True)))


def main() -> int:
    """Draw the picture anew."""
    plt.switch_backend("agg")
    drawn = list(frames())
    palette = drawn[-1].quantize(64)  # one for all, so that colours do not flicker
    flat = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in drawn]
    stay = [FIRST, *[BETWEEN] * (len(flat) - 2), LAST]
    with io.BytesIO() as buffer:
        flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=stay)
        notebooks.save(PICTURE, buffer.getvalue())
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
