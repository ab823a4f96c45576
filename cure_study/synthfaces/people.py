"""The traits that make a person, the same in all their images.

Lengths are in pixels of the aligned image, where the eyes of the mean face are 35.2 px apart, and
places are measured from the middle of the face (56, 72), x to the right and y down. Every number
here is our choice, by eye, near the proportions of adult faces.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Columns = dict[str, Floats]

SIZE = 112  # pixels a side
BLOCK = 80  # uniforms a person, and a capture, may use; raising it draws other faces
MOLES = 3

# name: mean, standard deviation, and what full masculinity adds (half of it below, half above)
TRAITS = {
    "face_width": (36.6, 2.6, 1.6),
    "chin": (37.0, 3.1, 2.5),
    "jaw": (0.08, 0.31, 0.30),
    "cheek": (-8.0, 3.0, 0.0),
    "fullness": (0.0, 1.2, 0.0),
    "hairline": (-49.0, 4.2, 0.0),
    "ear_size": (9.5, 1.1, 0.8),
    "ear_out": (2.0, 1.2, 0.0),
    "eye_gap": (17.6, 1.6, 0.0),
    "eye_y": (-20.3, 1.8, 0.0),
    "eye_width": (9.5, 0.98, -0.5),
    "eye_height": (0.44, 0.085, -0.06),
    "eye_tilt": (0.04, 0.11, -0.04),
    "lid": (0.5, 0.25, 0.0),
    "brow_height": (9.6, 2.0, -1.6),
    "brow_thickness": (1.9, 0.65, 0.9),
    "brow_arch": (2.2, 1.4, -1.2),
    "brow_tilt": (0.02, 0.091, 0.0),
    "brow_length": (11.2, 1.6, 0.6),
    "nose_y": (-0.3, 2.9, 0.6),
    "nose_width": (7.4, 1.5, 0.9),
    "nose_bridge": (3.6, 0.91, 0.3),
    "nose_depth": (54.0, 3.4, 1.5),
    "nose_bend": (0.0, 0.91, 0.0),
    "mouth_y": (20.3, 2.2, 0.6),
    "mouth_width": (14.0, 2.0, 0.5),
    "lip_upper": (3.2, 0.98, -0.7),
    "lip_lower": (4.7, 1.1, -0.7),
    "lip_bow": (0.45, 0.22, 0.0),
    "lip_red": (0.35, 0.23, -0.2),
    "undertone": (0.0, 1.4, 0.0),
    "blush": (0.5, 0.35, -0.1),
    "wrinkling": (1.0, 0.3, 0.0),
    "greying": (52.0, 9.0, -4.0),
    "receding": (-0.1, 0.5, 1.0),
    "beard": (-0.55, 0.65, 1.5),
    "freckles": (-0.35, 0.72, -0.1),
    "hair_length": (0.45, 0.22, -0.75),
    "hair_volume": (5.5, 2.0, -1.0),
    "hair_part": (0.0, 0.6, 0.0),
    "fringe": (0.1, 0.45, -0.3),
    "curl": (0.4, 0.35, 0.0),
}

# Ten skin tones from light to dark after the order of the Monk scale; the colours are ours.
SKIN = np.array(
    [
        (248, 224, 209), (244, 212, 191), (238, 200, 172), (229, 185, 152), (214, 165, 129),
        (192, 143, 108), (168, 120, 88), (142, 98, 71), (116, 79, 59), (93, 64, 50),
    ]
) / 255  # fmt: skip
HAIR = np.array([(28, 23, 22), (58, 39, 29), (98, 66, 42), (146, 104, 62), (205, 170, 112)]) / 255
GINGER = np.array([150, 72, 34]) / 255
GREY = np.array([188, 186, 182]) / 255
IRIS = np.array([(46, 28, 18), (92, 58, 30), (112, 98, 52), (84, 112, 92), (104, 136, 162)]) / 255


def uniforms(seed: int, person: int, captures: int) -> Floats:
    """(1 + captures, BLOCK) uniforms in [0, 1): row 0 makes the person, row 1 + c the capture c.

    A row depends on (seed, person, c) alone: the generator is keyed by seed and person (Philox),
    and rows are drawn in order.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, person]))
    return generator.random((1 + captures, BLOCK))


def normal(uniform: Floats, mean: float = 0.0, sd: float = 1.0) -> Floats:
    """A normal value for each uniform, its tails cut at 2.3 standard deviations."""
    return mean + sd * ndtri(0.01 + 0.98 * uniform)


def ramp(palette: Floats, position: Floats) -> Floats:
    """Colours (N, 3) at positions (N,) in [0, len(palette) - 1], linear between the entries."""
    steps = np.arange(len(palette))
    return np.stack([np.interp(position, steps, channel) for channel in palette.T], axis=-1)


def people(block: Floats) -> Columns:
    """The traits of each person from its row of uniforms (N, BLOCK); colours are (N, 3) in [0, 1].

    Skin, hair and eyes go together as they do in the world (dark skin rarely has fair hair), and
    masculinity, a number in [0, 1], shifts many traits a little, so that they agree.
    """
    draws = iter(block.T)
    masculine = 0.5 + 0.5 * np.sin(np.pi * (next(draws) - 0.5)) * 0.98
    traits = {
        name: normal(next(draws), mean + (masculine - 0.5) * shift, sd)
        for name, (mean, sd, shift) in TRAITS.items()
    }
    tone = 0.5 + 10 * next(draws)
    fair = np.clip(1.15 - tone / 8, 0, 1)
    skin = ramp(SKIN, np.clip(tone - 1, 0, 9))
    skin = skin * (1 + traits["undertone"][:, None] * np.array([0.012, 0.0, -0.035]))
    hair = ramp(HAIR, 4 * fair * next(draws) + 0.7 * next(draws) * (1 - fair))
    ginger = np.clip((next(draws) - 0.86) * 8, 0, 1) * fair
    hair = hair + ginger[:, None] * 0.8 * (GINGER - hair)
    iris = ramp(IRIS, 4 * next(draws) * np.clip(fair * 1.3, 0, 1))
    youngest = 18 + 10 * next(draws)
    oldest = np.minimum(youngest + 36 + 31 * next(draws), 85)
    moles = {f"mole_{axis}{k}": next(draws) for k in range(MOLES) for axis in ("x", "y", "size")}
    rest = {
        "masculine": masculine,
        "tone": tone,
        "skin": skin,
        "hair": hair,
        "iris": iris,
        "youngest": youngest,
        "oldest": oldest,
        "glasses_habit": np.clip(next(draws) * 1.5 - 0.65, 0.04, 0.7),
        "freckle_place": next(draws),
    }
    return traits | moles | rest
