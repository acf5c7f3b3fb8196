"""Pictures read back with Pillow: sizes, pixels, frames and times; and curves from rows with holes."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fastgan.errors import OutputError, ShapeError
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


# --- grids


@pytest.mark.parametrize(
    ("n", "h", "w", "columns", "size"),
    [
        (
            3,
            4,
            9,
            5,
            (3 * (25 * 9 + 2) + 2, 25 * 4 + 4),
        ),  # 25: what 3 columns, as many as samples, leave of 700
        (10, 8, 8, None, (4 * (21 * 8 + 2) + 2, 3 * (21 * 8 + 2) + 2)),
        (4, 900, 900, None, (2 * 902 + 2,) * 2),  # a pixel is never left out
    ],
)
def test_grid_size(n, h, w, columns, size):
    assert pictures.image_grid(random_images(n, h, w), columns).size == size


@pytest.mark.parametrize("c", [1, 3])
def test_a_grid_shows_each_sample_unblurred(c):
    samples = random_images(5, 3, 4, c)
    grid = pixels(pictures.image_grid(samples, 2)).reshape(-1, 2 * (86 * 4 + 2) + 2, c)
    zoom = (700 - 2 * 3) // 8
    tall, wide = 3 * zoom, 4 * zoom
    for i, sample in enumerate(samples):
        top, left = 2 + i // 2 * (tall + 2), 2 + i % 2 * (wide + 2)
        want = np.kron(np.round(sample * 255), np.ones((zoom, zoom, 1)))
        np.testing.assert_array_equal(grid[top : top + tall, left : left + wide], want)
    assert (grid[-tall:, -wide:] == grid[0, 0]).all()  # the cell of a missing sixth sample is dark grey
    assert 20 < grid[0, 0, 0] < 90


def test_values_are_clipped():
    x = np.array([-5.0, 0, 0.5, 1, 7, np.nan]).reshape(6, 1, 1, 1)
    for dtype in (np.float16, np.float32, np.float64):
        shown = pixels(pictures.image_grid(x.astype(dtype), 6))
        assert shown[2, 2 :: shown.shape[1] // 6].tolist() == [0, 0, 128, 255, 255, 0]


def test_transparent_pixels_are_white():
    images = np.zeros((4, 3, 3, 4))  # black, and transparent
    images[0, :, :, 3] = 1  # but the first
    shown, side = pixels(pictures.picture(images, columns=4)), 3 * ((700 - 2 * 5) // 12)
    assert (shown[2 : 2 + side, 2 : 2 + side] == 0).all()
    assert (shown[2 : 2 + side, 4 + side : 4 + 2 * side] == 255).all()


def test_a_gif_has_frames_of_one_size(tmp_path):
    with pytest.raises(ShapeError, match=r"one size, got \[\(4, 4\), \(4, 5\)\]"):
        pictures.save_gif(tmp_path / "a.gif", [Image.new("L", (4, side)) for side in (4, 5)])
    assert not list(tmp_path.iterdir())


# --- vectors


def test_profile():
    image = pictures.profile(np.array([[0.0, 1, 2], [4, np.nan, 2]]))
    shown = pixels(image)
    assert image.size == (3 * 233, 2 * 24)
    assert shown[[0, 0, 0, -1, -1, -1], [0, 300, -1, 0, 300, -1]].tolist() == [0, 64, 128, 255, 0, 128]
    assert (pixels(pictures.profile(np.full((2, 2), 3.0), np.array([1.0, 5.0]))) == 128).all()
    assert (pixels(pictures.profile(np.full((2, 2), 3.0))) == 0).all()
    assert pictures.profile(np.zeros((1000, 2000))).size == (2000, 1000)


def ring(n=200, spread=0.05):
    angle = np.arange(n) % 8 * np.pi / 4
    return np.c_[np.cos(angle), np.sin(angle)] * 2 + np.random.default_rng(1).normal(size=(n, 2)) * spread


def test_scatter_has_one_size():
    clouds = [(np.zeros((0, 2)), None), (np.full((3, 2), np.nan), ring()), (np.ones((3, 2)), None)]
    for points, real in clouds:
        image = pictures.scatter(points, real, modes=ring(8, 0), title="step 500, $a_b$")
        assert (image.size, image.mode) == ((480, 480), "RGB")


def test_the_real_points_frame_a_scatter():
    """What lies outside changes nothing in the frame but points that lie inside."""
    real, far = ring(), np.full((1, 2), 50.0)
    inside = (slice(60, 420), slice(70, 440))
    alone, outside = (pixels(pictures.scatter(points, real))[inside] for points in (np.zeros((0, 2)), far))
    assert (alone == outside).all()
    assert (alone != pixels(pictures.scatter(np.zeros((0, 2)), real * 3))[inside]).any()


# --- files


def test_png_is_exact(tmp_path):
    image = pictures.image_grid(random_images(4, c=3))
    pictures.save_png(tmp_path / "samples" / "000500.png", image)
    (size, [(shown, _)]) = read(tmp_path / "samples" / "000500.png")
    assert size == image.size
    assert (shown == pixels(image)).all()


def test_a_full_disk_keeps_the_old_picture(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    image, path = pictures.image_grid(random_images(1)), tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "write", full)
    for save, drawn in [(pictures.save_png, image), (pictures.save_gif, [image]), (pictures.loss_curves, [])]:
        with pytest.raises(OutputError, match="No space left"):
            save(path, drawn)
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


def test_long_gifs_are_thinned_evenly_and_equal_frames_are_one(tmp_path):
    pictures.save_gif(tmp_path / "a.gif", numbered(250))
    _, frames = read(tmp_path / "a.gif")
    shown = [int(frame[0, 0, 0]) for frame, _ in frames]
    assert len(shown) == 120
    assert (shown[0], shown[-1]) == (0, 249)
    assert set(np.diff(shown)) <= {2, 3}
    assert frames[-1][1] == 1500
    for few in (numbered(1), numbered(1) * 3):  # equal ones become one
        pictures.save_gif(tmp_path / "a.gif", few)
        assert len(read(tmp_path / "a.gif")[1]) == 1


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


def test_frames_of_a_folder(tmp_path):
    for name in ("2", "10", "000001"):
        Image.new("L", (4, 4), int(name)).save(tmp_path / f"{name}.png")
    Image.new("L", (4, 4), 9).save(tmp_path / "real.png")
    (tmp_path / "3.png").write_bytes(b"damaged")
    assert [frame.getpixel((0, 0)) for frame in pictures.frames_of(tmp_path)] == [1, 2, 10]


# --- curves


def rows(n, *keys):
    rng = np.random.default_rng(2)
    return [{"step": 10 * i, **{key: float(rng.random()) for key in keys}} for i in range(n)]


LOSSES = ("critic_loss", "generator_loss")


def curves(tmp_path, metrics):
    pictures.loss_curves(tmp_path / "losses.png", metrics)
    size, [(shown, _)] = read(tmp_path / "losses.png")
    assert size == (900, 600)
    return shown


OPINIONS, DISTANCES = ("d_real", "d_fake", "accuracy"), ("wasserstein", "penalty")


@pytest.mark.parametrize(("n", "extra"), [(0, ()), (1, DISTANCES), (3000, ()), (3000, OPINIONS)])
def test_curves_of_any_length(tmp_path, n, extra):
    shown = curves(tmp_path, rows(n, *LOSSES, *extra, "steps_per_second")).astype(int)
    assert (np.ptp(shown, axis=2) > 40).any() == (n > 0)  # colours


def test_holes_are_left_out(tmp_path):
    metrics = rows(40, *LOSSES, "wasserstein")
    whole = curves(tmp_path, metrics)
    for key, hole in {"critic_loss": np.nan, "generator_loss": np.inf, "wasserstein": None}.items():
        metrics.append({"step": 390, key: hole})
    metrics += [{"note": "resumed"}, {"step": None, "critic_loss": 3.0}, {"step": 390}]
    assert (curves(tmp_path, metrics[::-1]) == whole).all()
    curves(tmp_path, [{"step": i, "critic_loss": np.nan, "d_real": None} for i in range(5)])


def test_settings_of_the_user_leave_pictures_alone(tmp_path):
    import matplotlib

    plain = pixels(pictures.scatter(np.eye(2)))
    with matplotlib.rc_context({"savefig.bbox": "tight", "figure.facecolor": "black", "font.size": 30}):
        assert (pixels(pictures.scatter(np.eye(2))) == plain).all()
        assert matplotlib.rcParams["font.size"] == 30


def test_a_backend_that_is_not_there_does_not_matter_and_pyplot_is_left_alone():
    """Notebooks name theirs in the environment of whatever they start; matplotlib refuses to be imported with it."""
    code = (
        "import sys; from fastgan.gan import pictures; pictures.scatter([[0, 1]])\n"
        "assert 'matplotlib.pyplot' not in sys.modules; import matplotlib.pyplot; print(matplotlib.get_backend())"
    )
    for asked, got in {"nope": "agg", "svg": "svg"}.items():
        env = os.environ | {"MPLBACKEND": asked}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{got}\n", "")
