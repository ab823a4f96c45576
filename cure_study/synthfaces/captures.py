"""How a person is seen: age, pose, light, expression, hair, what covers the face, the camera."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from cure_study.synthfaces.people import GREY, HAIR, SIZE, Columns, Floats, normal, ramp

Draw = Callable[[], Floats]  # the next uniform of each capture, (N,) in [0, 1)

GLASSES = np.array(["none", "clear", "dark"])
BACKGROUNDS = np.array(
    [
        (70, 90, 110), (150, 150, 145), (110, 80, 60), (60, 95, 70), (200, 195, 185),
        (45, 45, 55), (165, 120, 90), (120, 140, 170), (170, 70, 60), (215, 205, 150),
    ]
) / 255  # fmt: skip
COVER_FROM = np.array([90.0, 90.0, -90.0, 0.0])  # degrees: below (twice as often), above, a side

# The numbers of a capture that `attributes` shows.
SHOWN = (
    "age", "quality", "yaw", "pitch", "roll", "scale", "shift_x", "shift_y", "light_azimuth",
    "light_elevation", "light_strength", "light_warmth", "light_gradient", "exposure", "contrast",
    "saturation", "smile", "mouth_open", "eye_open", "brow_raise", "gaze_x", "gaze_y", "occlusion",
    "blur", "resolution", "noise", "jpeg",
)  # fmt: skip


def captures(person: Columns, block: Floats) -> Columns:
    """The parameters of each image from its person's traits and its uniforms (N, BLOCK).

    Angles are in degrees (yaw: to the right of the image, pitch: up, roll: what alignment left),
    ages in years, shifts and gaze in pixels, blur the sigma of a Gaussian in pixels, resolution in
    pixels a side before enlargement, noise a standard deviation where the grey levels span [0, 1],
    jpeg Pillow's quality (100: never compressed). Every distribution here is our choice.
    """
    u: Draw = iter(block.T).__next__
    span = person["oldest"] - person["youngest"]
    capture = {"age": person["youngest"] + span * u()}
    capture |= _pose(u) | _light(u) | _expression(u) | _camera(u)
    capture |= _hair(person, capture["age"], u) | _worn(person, u)
    for name in ("backdrop", "backdrop2", "cloth", "cover"):
        plain = ramp(BACKGROUNDS, u() * (len(BACKGROUNDS) - 1))
        capture[name] = plain * (0.7 + 0.5 * u())[:, None]
    for name in ("backdrop_turn", "texture_a", "texture_b", "texture_c"):
        capture[name] = u()
    capture["quality"] = quality(capture)
    return capture


def _pose(u: Draw) -> Columns:
    return {
        "yaw": normal(u(), 0, 12),
        "pitch": normal(u(), 0, 7),
        "roll": normal(u(), 0, 1.8),
        "scale": normal(u(), 1, 0.022),
        "shift_x": normal(u(), 0, 0.9),
        "shift_y": normal(u(), 0, 0.9),
    }


def _light(u: Draw) -> Columns:
    return {
        "light_azimuth": normal(u(), 0, 33),
        "light_elevation": normal(u(), 28, 18),
        "light_strength": 0.25 + 0.6 * u(),
        "light_warmth": normal(u(), 0, 0.04),
        "light_gradient": normal(u(), 0, 0.18),
        "exposure": np.exp(normal(u(), -0.03, 0.13)),
        "contrast": np.exp(normal(u(), 0, 0.12)),
        "saturation": np.maximum(normal(u(), 1, 0.18), 0) * (u() > 0.06),
    }


def _expression(u: Draw) -> Columns:
    return {
        "smile": np.clip(normal(u(), 0.25, 0.45), -0.6, 1),
        "mouth_open": np.clip(normal(u(), -0.15, 0.4), 0, 1),
        "eye_open": np.clip(normal(u(), 0.95, 0.18), 0.12, 1.25),
        "brow_raise": normal(u(), 0, 0.9),
        "gaze_x": normal(u(), 0, 0.9),
        "gaze_y": normal(u(), 0, 0.35),
    }


def _camera(u: Draw) -> Columns:
    """Blur, coarseness, noise and compression grow with one number, so that few images are bad."""
    carelessness = u() ** 2.8
    coarse = np.clip(1.5 * carelessness * u() - 0.15, 0, 1)
    return {
        "blur": np.maximum(2.9 * carelessness * u() - 0.25, 0),
        "resolution": np.round(SIZE - (SIZE - 22) * coarse),
        "noise": 0.006 + 0.10 * carelessness * u() ** 2,
        "jpeg": np.round(np.clip(125 - 60 * u() - 75 * carelessness * u(), 8, 100)),
    }


def _hair(person: Columns, age: Floats, u: Draw) -> Columns:
    """The hair of an image: in three of ten another style than the person's usual one."""
    change = np.where(u() < 0.3, 1.0, 0.2)
    years = np.clip((age - 25) / 45, 0, 1)
    grey = np.clip((age - person["greying"]) / 28 + 0.25 * (u() - 0.5), 0, 1)
    natural = person["hair"] * (0.87 + 0.26 * u())[:, None]
    natural = natural + grey[:, None] * (GREY - natural)
    dyed = u() < 0.22 * (1 - person["masculine"])
    fringe = np.clip(person["fringe"] + change * normal(u(), 0, 0.5), 0, 1)
    return {
        "hair_colour": np.where(dyed[:, None], ramp(HAIR, 4 * u()), natural),
        "grey": np.where(dyed, 0, grey),
        "hair_length_now": np.clip(person["hair_length"] + change * normal(u(), 0, 0.35), 0, 1),
        "hair_volume_now": np.clip(person["hair_volume"] + change * normal(u(), 0, 1.8), 1.2, 12),
        "hair_part_now": person["hair_part"] + change * normal(u(), 0, 0.6),
        "fringe_now": fringe * (1 - 0.6 * years),
        "recede": np.clip(person["receding"], 0, 1.2) * years,
        "beard_shown": np.clip(person["beard"] + normal(u(), -0.15, 0.45), 0, 1),
    }


def _worn(person: Columns, u: Draw) -> Columns:
    """Glasses (0 none, 1 clear, 2 dark), makeup, and a cloth in front of the face."""
    habit = u() / person["glasses_habit"]
    covered = np.clip((u() - 0.94) / 0.06, 0, 1)
    angle = COVER_FROM[(u() * len(COVER_FROM)).astype(int)] + normal(u(), 0, 14)
    return {
        "glasses_kind": np.where(habit < 1, 1.0 + (habit < 0.12), 0.0),
        "frame_shape": u(),
        "frame_colour": u(),
        "occlusion": np.where(covered > 0, 0.12 + 0.22 * covered, 0),
        "occlusion_angle": np.where(u() < 0.5, angle, 180 - angle),
        "makeup": np.clip((1 - person["masculine"]) * normal(u(), 0.2, 0.5), 0, 1),
        "makeup_hue": u(),
    }


def quality(capture: Columns) -> Floats:
    """How useful an image is for recognition, (N,) in [0, 1], higher is better.

    The product of one factor in (0, 1] a nuisance, each falling from 1 as it grows. Our choice: an
    order that follows from what was done to the image, not a measured error rate.
    """
    detail = np.hypot(capture["blur"], 0.45 * (SIZE / capture["resolution"] - 1))
    slant = np.abs(capture["light_azimuth"]) * np.maximum(capture["light_strength"] - 0.5, 0)
    cost = (
        0.45 * (capture["yaw"] / 30) ** 2
        + 0.35 * (capture["pitch"] / 20) ** 2
        + 0.45 * detail
        + 5.0 * (capture["noise"] - 0.006)
        + 0.35 * np.maximum(60 - capture["jpeg"], 0) / 50
        + 1.6 * capture["occlusion"]
        + np.array([0.0, 0.06, 0.45])[capture["glasses_kind"].astype(int)]
        + 0.5 * np.abs(np.log(capture["exposure"]))
        + 0.01 * slant
        + 0.3 * np.maximum(0.7 - capture["eye_open"], 0)
    )
    return np.exp(-cost)


def table(person: Columns, capture: Columns) -> pd.DataFrame:
    """One row an image: skin tone (1 to 10), glasses by name, and the numbers in SHOWN."""
    columns: dict[str, object] = {
        "skin_tone": np.clip(np.round(person["tone"]), 1, 10).astype(np.int64),
        "glasses": GLASSES[capture["glasses_kind"].astype(int)],
    }
    return pd.DataFrame({**{name: capture[name] for name in SHOWN}, **columns})
