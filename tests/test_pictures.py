"""Pictures read back with Pillow: sizes, pixels, frames and times; and curves from rows with holes."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fastgan.errors import OutputError, ShapeError, UsageError
from fastgan.gan import pictures


def random_images(n, h=8, w=8, c=1, seed=0):
    return np.random.default_rng(seed).random((n, h, w, c), np.float32)


def pixels(image):
    return np.asarray(image)


def read(path):
    """Size, and per frame of the file its RGB pixels and its milliseconds."""
    with Image.open(path) as file:
        frames = []
        for i in range(getattr(file, "n_frames", 1)):
            file.seek(i)
            frames.append((pixels(file.convert("RGB")), file.info.get("duration")))
        return file.size, frames


def has_color(image, color, tolerance=40):
    want = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((abs(pixels(image.convert("RGB")).astype(int) - want).max(axis=2) < tolerance).any())


# --- grids


@pytest.mark.parametrize(
    ("n", "h", "w", "columns", "zoom", "size"),
    [
        (6, 8, 8, 3, 1, (3 * 10 + 2, 2 * 10 + 2)),
        (7, 8, 8, 3, 2, (3 * 18 + 2, 3 * 18 + 2)),
        (3, 4, 9, 5, 1, (3 * 11 + 2, 6 + 2)),
        (10, 8, 8, None, 1, (4 * 10 + 2, 3 * 10 + 2)),
        (25, 28, 28, None, None, (5 * (28 * 4 + 2) + 2,) * 2),
    ],
)
def test_grid_size(n, h, w, columns, zoom, size):
    assert pictures.image_grid(random_images(n, h, w), columns, zoom=zoom).size == size


@pytest.mark.parametrize(
    ("n", "h", "w"), [(1, 8, 8), (16, 8, 8), (25, 8, 8), (36, 28, 28), (25, 64, 64), (16, 32, 48)]
)
def test_a_grid_is_large_enough_to_look_at(n, h, w):
    width, height = pictures.image_grid(random_images(n, h, w)).size
    assert 350 <= width <= 700
    assert 0.6 < width / height < 1.7


def test_a_grid_shows_each_sample_unblurred():
    samples = random_images(5, 3, 4, 3)
    grid = pixels(pictures.image_grid(samples, 2, zoom=3, gap=4))
    assert grid.shape == (3 * (9 + 4) + 4, 2 * (12 + 4) + 4, 3)
    for i, sample in enumerate(samples):
        top, left = 4 + i // 2 * 13, 4 + i % 2 * 16
        want = np.kron(np.round(sample * 255), np.ones((3, 3, 1)))
        np.testing.assert_array_equal(grid[top : top + 9, left : left + 12], want)
    assert (grid[-13:, -16:] == grid[0, 0]).all()  # the cell of a missing sixth sample is dark grey
    assert 20 < grid[0, 0, 0] < 90


def test_values_are_clipped_and_bytes_kept():
    x = np.array([-5.0, 0, 0.5, 1, 7, np.nan]).reshape(1, 1, 6, 1)
    for dtype in (np.float16, np.float32, np.float64):
        shown = pixels(pictures.image_grid(x.astype(dtype), zoom=1, gap=0)).ravel()
        assert shown.tolist() == [0, 0, 128, 255, 255, 0]
    data = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert (pixels(pictures.image_grid(data, zoom=1, gap=0)).ravel() == np.arange(256)).all()


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (3, 8, 8), (3, 8, 8, 2), (3, 1, 8, 8), (64,)])
def test_grid_refuses_other_shapes(shape):
    with pytest.raises(ShapeError, match=r"needs \(n, h, w, 1 or 3\)"):
        pictures.image_grid(np.zeros(shape))


@pytest.mark.parametrize("settings", [{"columns": 0}, {"columns": -1}, {"zoom": 0}, {"gap": -1}])
def test_grid_refuses_odd_settings(settings):
    with pytest.raises(UsageError, match="at least 1"):
        pictures.image_grid(random_images(2), **settings)


def test_grid_refuses_integers_of_unknown_range():
    with pytest.raises(UsageError, match="got int64"):
        pictures.image_grid(np.zeros((1, 2, 2, 1), np.int64))


# --- vectors


def test_profile():
    image = pictures.profile(np.array([[0.0, 1, 2], [4, np.nan, 2]]))
    shown = pixels(image)
    assert image.size == (3 * 233, 2 * 24)
    assert shown[[0, 0, 0, -1, -1, -1], [0, 300, -1, 0, 300, -1]].tolist() == [0, 64, 128, 255, 0, 128]
    assert (pixels(pictures.profile(np.full((2, 2), 3.0), limits=(1.0, 5.0))) == 128).all()
    assert (pixels(pictures.profile(np.full((2, 2), 3.0))) == 0).all()
    assert pictures.profile(np.zeros((1000, 2000))).size == (2000, 1000)
    with pytest.raises(ShapeError, match=r"\(n, d\)"):
        pictures.profile(np.zeros(5))


def ring(n=200, spread=0.05):
    angle = np.arange(n) % 8 * np.pi / 4
    return np.c_[np.cos(angle), np.sin(angle)] * 2 + np.random.default_rng(1).normal(size=(n, 2)) * spread


def test_scatter_shows_both_and_keeps_its_frame():
    real, fake = ring(), ring(spread=0.3)
    image = pictures.scatter(fake, real, modes=ring(8, 0), title="step 500, $a_b$")
    assert image.size == (480, 480)
    assert image.mode == "RGB"
    assert has_color(image, "#e8710a")
    assert has_color(image, "#188038")
    assert not has_color(pictures.scatter(fake), "#e8710a")
    far = pictures.scatter(fake * 1000, real)
    only = pictures.scatter(np.zeros((0, 2)), real)
    ticks = (slice(430, 450), slice(0, 480))  # the numbers under the frame: the same limits
    assert (pixels(far)[ticks] == pixels(only)[ticks]).all()
    assert (pixels(pictures.scatter(fake, real * 3))[ticks] != pixels(only)[ticks]).any()


def test_scatter_says_what_lies_outside():
    real = ring()
    below = (slice(452, 480), slice(0, 480))
    inside, outside = pictures.scatter(real, real), pictures.scatter(np.r_[real, [[50, 0]]], real)
    assert (pixels(inside)[below] == 255).all()
    assert (pixels(outside)[below] < 255).any()


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.ones((3, 2)), np.full((3, 2), np.nan)])
def test_scatter_of_little(points):
    assert pictures.scatter(points).size == (480, 480)


def test_scatter_refuses_other_shapes():
    with pytest.raises(ShapeError, match=r"points of shape \(n, 2\), got \(4, 3\)"):
        pictures.scatter(np.zeros((4, 3)))
    with pytest.raises(ShapeError, match="modes"):
        pictures.scatter(ring(), modes=np.zeros(2))


# --- files


def test_png_is_exact(tmp_path):
    image = pictures.image_grid(random_images(4, c=3))
    pictures.save_png(tmp_path / "samples" / "000500.png", image)
    assert (tmp_path / "samples" / "000500.png").read_bytes() == pictures.encode_png(image)
    (size, [(shown, _)]) = read(tmp_path / "samples" / "000500.png")
    assert size == image.size
    assert (shown == pixels(image)).all()


@pytest.mark.parametrize("save", ["png", "gif", "curves"])
def test_a_full_disk_keeps_the_old_picture(tmp_path, monkeypatch, save):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    image, path = pictures.image_grid(random_images(1)), tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "write", full)
    writers = {
        "png": lambda: pictures.save_png(path, image),
        "gif": lambda: pictures.save_gif(path, [image]),
        "curves": lambda: pictures.loss_curves(path, []),
    }
    with pytest.raises(OutputError, match="No space left"):
        writers[save]()
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["a"]


def numbered(n, mode="L"):
    """Frames that differ: the number of each is its grey value, in steps of 40 where there are colours."""
    return [Image.new(mode, (16, 12), i if mode == "L" else (40 * i,) * 3) for i in range(n)]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_gif_frames_and_times(tmp_path, mode):
    pictures.save_gif(tmp_path / "a.gif", numbered(5, mode), ms=70, hold=900)
    size, frames = read(tmp_path / "a.gif")
    assert size == (16, 12)
    assert [time for _, time in frames] == [70, 70, 70, 70, 900]
    unit = 1 if mode == "L" else 40
    assert [round(float(shown[0, 0, 0]) / unit) for shown, _ in frames] == [0, 1, 2, 3, 4]
    with Image.open(tmp_path / "a.gif") as file:
        assert file.info["loop"] == 0


def test_long_gifs_are_thinned_evenly(tmp_path):
    pictures.save_gif(tmp_path / "a.gif", numbered(250))
    _, frames = read(tmp_path / "a.gif")
    shown = [int(frame[0, 0, 0]) for frame, _ in frames]
    assert len(shown) == 120
    assert (shown[0], shown[-1]) == (0, 249)
    assert set(np.diff(shown)) <= {2, 3}
    assert frames[-1][1] == 1500


def test_gif_of_one_and_of_equal_frames(tmp_path):
    for frames in (numbered(1), numbered(1) * 3):
        pictures.save_gif(tmp_path / "a.gif", frames)
        assert read(tmp_path / "a.gif")[0] == (16, 12)


def test_gif_colors_are_near(tmp_path):
    gradient = np.linspace(0, 1, 32)[None, :, None, None] * np.array([1, 0.3, 0.6]) * np.ones((9, 32, 32, 3))
    drawings = [pictures.scatter(ring(spread=s), ring()) for s in (0.5, 0.1)]
    photos = [pictures.image_grid(gradient * s) for s in (0.5, 1)]
    for frames in (drawings, photos):
        pictures.save_gif(tmp_path / "a.gif", frames)
        for (shown, _), frame in zip(read(tmp_path / "a.gif")[1], frames, strict=True):
            assert abs(shown.astype(int) - pixels(frame)).mean() < 1.6
    pictures.save_gif(tmp_path / "a.gif", drawings)
    assert read(tmp_path / "a.gif")[1][0][0][0, 0].min() >= 253  # paper stays white


def test_gif_refusals(tmp_path):
    with pytest.raises(UsageError, match="at least one frame"):
        pictures.save_gif(tmp_path / "a.gif", [])
    with pytest.raises(ShapeError, match=r"one size, got \[\(4, 4\), \(4, 5\)\]"):
        pictures.save_gif(tmp_path / "a.gif", [Image.new("L", (4, 4)), Image.new("L", (4, 5))])
    assert not list(tmp_path.iterdir())


# --- curves


def rows(n, *keys):
    rng = np.random.default_rng(2)
    return [{"step": 10 * i, **{key: float(rng.random()) for key in keys}} for i in range(n)]


LOSSES = ("critic_loss", "generator_loss")
ORANGE, PURPLE = "#e8710a", "#8e44ad"


def curves(tmp_path, metrics):
    pictures.loss_curves(tmp_path / "losses.png", metrics)
    image = Image.fromarray(read(tmp_path / "losses.png")[1][0][0])
    assert image.size == (900, 600)
    return image


@pytest.mark.parametrize("n", [0, 1, 2, 3000])
@pytest.mark.parametrize("extra", [(), ("d_real", "d_fake", "accuracy"), ("wasserstein", "penalty")])
def test_curves_of_any_length(tmp_path, n, extra):
    image = curves(tmp_path, rows(n, *LOSSES, *extra, "steps_per_second"))
    assert has_color(image, ORANGE) == (n > 0 and "d_real" in extra)
    assert has_color(image, PURPLE) == (n > 0 and "penalty" in extra)


def test_holes_are_left_out(tmp_path):
    metrics = rows(40, *LOSSES, "wasserstein")
    whole = curves(tmp_path, metrics)
    for key, hole in {"critic_loss": np.nan, "generator_loss": np.inf, "wasserstein": None}.items():
        metrics.append({"step": 390, key: hole})
    metrics += [{"note": "resumed"}, {"step": None, "critic_loss": 3.0}, {"step": 390}]
    assert (pixels(curves(tmp_path, metrics[::-1])) == pixels(whole)).all()
    curves(tmp_path, [{"step": i, "critic_loss": np.nan, "d_real": None} for i in range(5)])


def test_one_outlier_does_not_flatten_the_curves(tmp_path):
    metrics = rows(200, *LOSSES)
    plain = pixels(curves(tmp_path, metrics))
    metrics[3]["critic_loss"] = 1e6
    spiked = pixels(curves(tmp_path, metrics))

    def rows_with_green(shown):  # the generator's curve fills the panel as before
        green = (shown[:, :, 1].astype(int) - shown[:, :, 0] > 60).any(axis=1)[80:]
        return green.sum()

    assert rows_with_green(spiked) > 0.6 * rows_with_green(plain)


def test_settings_of_the_user_leave_pictures_alone(tmp_path):
    import matplotlib

    plain = pixels(pictures.scatter(np.eye(2)))
    with matplotlib.rc_context({"savefig.bbox": "tight", "figure.facecolor": "black", "font.size": 30}):
        assert (pixels(pictures.scatter(np.eye(2))) == plain).all()
        assert matplotlib.rcParams["font.size"] == 30


def test_a_backend_that_is_not_there_does_not_matter():
    """Notebooks name theirs in the environment of whatever they start; matplotlib refuses to be imported with it."""
    code = (
        "from fastgan.gan import pictures; print(pictures.scatter([[0, 1]]).size); import matplotlib.pyplot"
    )
    environment = os.environ | {"MPLBACKEND": "nope"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(480, 480)\n", "")
    asked = code + "; print(matplotlib.get_backend())"
    done = subprocess.run(
        [sys.executable, "-c", asked], env=os.environ | {"MPLBACKEND": "svg"}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["(480,", "480)", "svg"]


def test_pyplot_is_left_alone(tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    curves(tmp_path, rows(3, *LOSSES))
    assert ("matplotlib.pyplot" in sys.modules) == before
