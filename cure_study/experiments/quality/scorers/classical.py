"""Quality from the image alone. Each takes luminance (B, 112, 112) in 0..255, returns (B,).

The numbers (scales, percentiles, the window) are our choice, made on SynthFaces that no result
uses.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter, gaussian_laplace

Grey = NDArray[np.float32]

FACE = (
    slice(None),
    slice(24, 104),
    slice(20, 92),
)  # the part of ArcFace's template that shows the face
SECOND_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)[None]
BLOCK = 8  # pixels: what JPEG transforms together


def sharpness(grey: Grey) -> np.ndarray:
    """Variance of the Laplacian over the face, after a Gaussian of 1 pixel against noise.

    Blur takes away the fine contrast by which features are placed, so little of it means little to
    compare. Content counts too: a smooth face looks blurred.
    Source: Pech-Pacheco et al. (ICPR 2000).
    """
    return _bands(grey, 1.0).var(axis=(1, 2))


def detail(grey: Grey) -> np.ndarray:
    """Log ratio of fine (1 pixel) to coarse (3 pixel) edges: the resolution that is left.

    An upsampled or blurred image keeps its coarse edges and loses the fine ones, whatever its
    contrast; what recognition needs lies in both.
    """
    fine, coarse = (np.percentile(np.abs(_bands(grey, s)), 97, axis=(1, 2)) for s in (1.0, 3.0))
    return np.log((fine + 1e-3) / (coarse + 1e-3))


def edges(grey: Grey) -> np.ndarray:
    """Kurtosis of the Laplacian: few strong edges on calm skin.

    A clear image of a face is smooth nearly everywhere and sharp along lids, lips and outline.
    Blur weakens the edges and noise roughens the skin: both make the distribution more Gaussian.
    Source: the idea of natural scene statistics (Mittal et al., BRISQUE, TIP 2012).
    """
    bands = _bands(grey, 0.6)
    bands = bands - bands.mean(axis=(1, 2), keepdims=True)
    square = (bands**2).mean(axis=(1, 2))
    return (bands**4).mean(axis=(1, 2)) / (square**2 + 1e-6) - 3  # a flat image: -3, the minimum


def noise(grey: Grey) -> np.ndarray:
    """How little the calmest patches vary: variation there is the camera's, not the face's.

    Noise drowns fine features, and encoders meet little of it in training. Compression hides noise,
    so a coarse JPEG looks clean; read it together with `compression`.
    Source: Immerkaer's mask (CVIU 64(2), 1996) in the 5th percentile of 8 x 8 patches.
    """
    rough = np.abs(convolve(grey, SECOND_DIFFERENCE))
    side = grey.shape[1] // BLOCK
    patches = rough.reshape(len(grey), side, BLOCK, side, BLOCK).mean(axis=(2, 4))
    return -np.percentile(patches.reshape(len(grey), -1), 5, axis=1)


def compression(grey: Grey) -> np.ndarray:
    """How little the 8-pixel grid of JPEG shows: steps across it against steps elsewhere.

    Strong compression replaces features by blocks. It sees the last compression only if the image
    has not been moved or resized since.
    Source: Wang, Sheikh and Bovik (ICIP 2002), the blockiness term.
    """
    border = np.arange(grey.shape[1] - 1) % BLOCK == BLOCK - 1
    across, down = np.abs(np.diff(grey, axis=2)), np.abs(np.diff(grey, axis=1))
    on = across[:, :, border].mean(axis=(1, 2)) + down[:, border].mean(axis=(1, 2))
    off = across[:, :, ~border].mean(axis=(1, 2)) + down[:, ~border].mean(axis=(1, 2))
    return -on / (off + 0.1)


def exposure(grey: Grey) -> np.ndarray:
    """How near the face's mean luminance is to the middle of the range.

    A dark or bright image loses tones at one end. The score cannot distinguish dark skin from low
    light, so a threshold on it removes people with dark skin: never use it alone.
    """
    return -np.abs(grey[FACE].mean(axis=(1, 2)) - 127.5)


def contrast(grey: Grey) -> np.ndarray:
    """Standard deviation of the face's luminance: flat images hold little to compare.

    It varies with skin and light as much as with the camera; like `exposure`, never use it alone.
    """
    return grey[FACE].std(axis=(1, 2))


def symmetry(grey: Grey) -> np.ndarray:
    """Correlation of the middle of the image with its mirror image: how frontal the face is.

    An aligned frontal face is nearly symmetric; turned heads, side light and one-sided cover are
    not, and they hide half of what is compared. Slow changes of brightness are removed first.
    """
    fine = gaussian_filter(grey, 3, axes=(1, 2)) - gaussian_filter(grey, 10, axes=(1, 2))
    middle = fine[:, 24:104, 14:98]
    return (middle * middle[:, :, ::-1]).sum(axis=(1, 2)) / ((middle**2).sum(axis=(1, 2)) + 1e-6)


def _bands(grey: Grey, sigma: float) -> Grey:
    """The Laplacian of a Gaussian over the face."""
    return np.stack([gaussian_laplace(image, sigma)[FACE[1:]] for image in grey])
