"""The bundled digits: 1,797 handwritten digits of 8x8 pixels, 0 (paper) to 16 (ink), in `digits.npz`.

The file was made of scikit-learn's copy, with nothing but the number type changed:
    digits = sklearn.datasets.load_digits()
    np.savez_compressed("digits.npz", samples=digits.images.astype("uint8"), labels=digits.target.astype("uint8"))
"""

from importlib.resources import files

import numpy as np

from fastgan.data.dataset import Dataset

SOURCE = (
    '"Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, '
    "doi 10.24432/C50P49, CC BY 4.0 (test part, as shipped by scikit-learn)."
)


def digits() -> Dataset:
    """1,797 images (8, 8, 1) of uint8 0..16 with labels 0..9."""
    with files("fastgan.data").joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        samples, labels = stored["samples"][..., None], stored["labels"].astype(np.int64)
    return Dataset("digits", samples, labels, 0.0, 16.0, source=SOURCE)
