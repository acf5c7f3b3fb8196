"""Dense layers on CUDA: the host functions behind fastgan/ops/dense.py, one launch each, and which tiles they take.

`schedule` picks a tile for a shape: as large as leaves enough blocks for the whole GPU, or what `MEASURED` says, where
"blas" means cuBLAS and an element-wise kernel after it, "apart" no fusion with batch norm.

Shapes: `n` batch, `i`/`o` features in/out.
"""

from fastgan.kernels.cuda import products
from fastgan.kernels.cuda.epilogues import ACTS, THREADS
from fastgan.kernels.cuda.launching import blocks, empty, is_plain
from fastgan.kernels.cuda.products import BIAS, MASK, PLAIN
from fastgan.kernels.cuda.sums import column_sums
from fastgan.kernels.cuda.tiles import TILES, WEIGHT_TILES

MEASURED: dict[tuple[str, int, int, int], str] = {}  # (form, n, i, o) -> a name of TILES, "blas" or "apart"
ASKED: set[tuple[str, int, int, int]] = set()  # what `measuring` may be asked to time
FULL = 128  # blocks that busy a large GPU's multiprocessors
LEAST, MOST = 256, 264  # rows of a slice; blocks of slices
TALLEST = 65535 * 32  # rows that a grid's second axis reaches with the lowest tile


def schedule(form, n, i, o):
    """The tile for one of "forward", "forward_norm", "tangent", "backward", "weight_gradients", "NN", "NT", "TN".

    The first three and "NN" multiply (n, i) by (i, o); "backward" (n, o) by (i, o)^T beside (n, i)^T by (n, o); "NT"
    (n, i) by (o, i)^T; "weight_gradients" and "TN" (n, i)^T by (n, o).
    """
    ASKED.add((form, n, i, o))
    return MEASURED.get((form, n, i, o)) or built_in(form, n, i, o)


def built_in(form, n, i, o):
    """The largest tile of which there are enough for the whole GPU, and that the result is not lost in."""
    if form == "forward_norm":  # a block owns all rows
        return "32x8" if n <= 32 else "64x8"
    height, width = {"backward": (n, i), "weight_gradients": (i, o), "TN": (i, o)}.get(form, (n, o))
    strips = form in ("forward", "tangent", "NN") and 32 < n <= 64
    for name in ("64x64", "32x32", *(["64x8"] if strips else [])):
        tile = TILES[name]
        if tile.columns < 2 * width and blocks(height, tile.rows) * blocks(width, tile.columns) >= FULL:
            return name
    return "32x8"


def _is_layer(x, w, b):
    """Whether x (n, i), w (i, o), b (o,) fit one another."""
    fits = x.ndim == 2 and w.ndim == 2 and x.shape[1] == w.shape[0] and b.shape == w.shape[1:]
    return fits and len(x) <= TALLEST and _counts(x.size, w.size, len(x) * w.shape[1])


def _counts(*sizes):
    """Whether a kernel's 32-bit indices reach all elements of arrays of these sizes, and one tile beyond."""
    return max(sizes) < 2**31 - 2**20


def _blas(a, b, out, ta=False, tb=False):
    """out = op(a) @ op(b) by cuBLAS; returns `out`."""
    from fastgan.kernels.cuda import blas

    blas.gemm(a, b, out, ta, tb)
    return out


def _linear(name, x, w, b, a, y, after, act, slope):
    """The kernel of all products x @ w."""
    (n, i), o, tile = x.shape, w.shape[1], TILES[name]
    grid = blocks(o, tile.columns), blocks(n, tile.rows)
    products.LINEAR[name](grid, x, w, b, a, y, n, i, o, after, ACTS[act], slope, sizes=(i, o))


def _mask(g, y, out, act, slope):
    products.MASK_ALONE(blocks(g.size, 4 * THREADS), g, y, out, g.size, ACTS[act], slope, sizes=(g.size,))


def forward(x, w, b, *, act="leaky", slope=1.0):
    """act(x @ w + b); (n, i), (i, o), (o,) -> (n, o). The slope of "leaky" is 0 to 1."""
    if not _is_layer(x, w, b) or not 0 <= slope <= 1:
        return NotImplemented
    (n, i), o = x.shape, w.shape[1]
    y = empty((n, o), x)
    name = "score" if o == 1 else schedule("forward", n, i, o)
    if name == "score":
        products.SCORE(blocks(n, 8), x, w, b, y, n, i, ACTS[act], slope, sizes=(i,))
    elif name == "blas":
        _blas(x, w, y)
        grid = blocks(o, 128), min(blocks(n, 8), 4096)
        products.FINISH(grid, y, b, n, o, ACTS[act], slope, sizes=(o,))
    else:
        _linear(name, x, w, b, None, y, BIAS, act, slope)
    return y


def activation_grad(g, y, *, act="leaky", slope=0.2, out=None):
    """g times the derivative of the activation whose output is y; g and y of one shape, `out` may be g."""
    if g.shape != y.shape or not _counts(g.size):
        return NotImplemented
    out = empty(g.shape, g) if out is None else out
    if not is_plain(out, g.shape):
        return NotImplemented
    _mask(g, y, out, act, slope)
    return out


def leaky_relu(y, slope):
    """leaky_relu(y), written over y, of fewer than 2**31 elements."""
    _mask(y, y, y, "leaky", slope)
    return y


def tangent(p, w, a, *, act="leaky", slope=0.2, out=None):
    """(p @ w) times the derivative of the activation that made a; (n, i), (i, o), (n, o). `out` may be a."""
    fits = p.ndim == 2 and w.ndim == 2 and p.shape[1] == w.shape[0] and a.shape == (p.shape[0], w.shape[1])
    if not fits or len(p) > TALLEST or not _counts(p.size, w.size, a.size):
        return NotImplemented
    out = empty(a.shape, a) if out is None else out
    if not is_plain(out, a.shape):
        return NotImplemented
    name = schedule("tangent", len(p), len(w), w.shape[1])
    if name == "blas":
        product = empty(a.shape, a)
        _blas(p, w, product)
        _mask(product, a, out, act, slope)
    else:
        _linear(name, p, w, None, a, out, MASK, act, slope)
    return out


def forward_norm(
    x, w, b, gamma, beta, mean, variance, *, act="leaky", slope=1.0, eps, momentum=0.0, widening=1.0, training=True,
    stats=None,
):  # fmt: skip
    """(h, y): h = act(x @ w + b), y is h normalized; in training for at most 64 rows, and with `stats` only."""
    if not _is_layer(x, w, b) or not 0 <= slope <= 1:
        return NotImplemented
    (n, i), o = x.shape, w.shape[1]
    name = schedule("forward_norm", n, i, o)
    if name not in TILES or (training and (stats is None or n > TILES[name].rows)):
        return NotImplemented
    h, y = empty((n, o), x), empty((n, o), x)
    grid = blocks(o, TILES[name].columns), blocks(n, TILES[name].rows)
    kept = mean, variance, stats if training else None
    settings = int(training), ACTS[act], slope, eps, momentum, widening
    products.LINEAR_NORM[name](grid, x, w, b, gamma, beta, *kept, h, y, n, i, o, *settings, sizes=(i, o))
    return h, y


def backward(v, a, w, *, act="leaky", slope=1.0, gw=None, gb=None, dx=True):
    """A layer's backward pass in one launch: dx = (v @ w^T) * act'(a), gw = a^T v, gb = the sum of v's rows.

    v (n, o), a (n, i), w (i, o); `gw` and `gb`, both or neither, are written; None is returned without `dx`.
    """
    fits = v.ndim == 2 and a.ndim == 2 and len(a) == len(v) and w.shape == (a.shape[1], v.shape[1])
    if not fits or not _counts(v.size, a.size, w.size):
        return NotImplemented
    below = empty(a.shape, v) if dx else None
    if dx or gw is not None:
        _backward("backward", v, a, w, below, gw, gb, len(v), act, slope)
    return below


def weight_gradients(a, v, *, gw, gb, rows):
    """gw = a^T v and gb = the sum of v's first `rows` rows; (n, i), (n, o), (i, o), (o,)."""
    if v.ndim != 2 or a.ndim != 2 or len(a) != len(v) or not _counts(v.size, a.size, gw.size):
        return NotImplemented
    _backward("weight_gradients", v, a, None, None, gw, gb, min(rows, len(v)), "leaky", 1.0)
    return None


def _backward(form, v, a, w, dx, gw, gb, rows, act, slope):
    """`backward` on arrays that fit; an absent result is None, and `rows` of v count for gb."""
    (n, o), i = v.shape, a.shape[1]
    after = PLAIN if dx is None or (act == "leaky" and slope == 1) else MASK
    name = "head" if o == 1 else schedule(form, n, i, o)
    if name == "head":
        w, read = w if dx is not None else None, a if gw is not None or after == MASK else None
        settings = int(dx is not None), int(gw is not None), int(after == MASK), ACTS[act], slope
        grid = blocks(i, products.COLUMNS)
        products.HEAD(grid, v, read, w, dx, gw, gb, n, i, rows, *settings, sizes=(i,))
    elif name == "blas":
        if gw is not None:
            _blas(a, v, gw, ta=True)
            column_sums(v[:rows], gb)
        if dx is not None:
            _blas(v, w, dx, tb=True)
            if after == MASK:
                _mask(dx, a, dx, act, slope)
    else:
        _products(name, v, a, w, dx, gw, gb, rows, after, act, slope)


def _products(name, v, a, w, dx, gw, gb, rows, after, act, slope):
    """The kernel of the products v @ w^T and a^T v: some blocks compute the one, the others the other."""
    n, o = v.shape
    i = w.shape[0] if a is None else a.shape[1]
    tile, weight_tile, below, above = TILES[name], WEIGHT_TILES[name], 0, 0
    if dx is not None:
        below = blocks(n, tile.rows) * blocks(i, tile.columns)
    if gw is not None:
        above = blocks(i, weight_tile.rows) * blocks(o, weight_tile.columns)
    w = w if dx is not None else None
    a = a if gw is not None or after == MASK else None
    rows = rows if gb is not None else -1
    numbers = n, i, o, rows, below, after, ACTS[act], slope
    products.BACKWARD[name](below + above, v, a, w, dx, gw, gb, *numbers, sizes=(i, o))


def matmul(x, w, *, out=None):
    """x @ w for C-contiguous or transposed operands, not both of them transposed; (n, i), (i, o) -> (n, o)."""
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0] or x.size == 0 or w.size == 0:
        return NotImplemented
    if len(x) > TALLEST or not _counts(x.size, w.size, len(x) * w.shape[1]):
        return NotImplemented
    turned = [not y.flags.c_contiguous for y in (x, w)]
    straight = [y.T if t else y for y, t in zip((x, w), turned, strict=True)]
    (n, i), o = x.shape, w.shape[1]
    out, form = empty((n, o), x) if out is None else out, "TN" if turned[0] else "NT" if turned[1] else "NN"
    if all(turned) or not all(is_plain(y, y.shape) for y in straight) or not is_plain(out, (n, o)):
        return NotImplemented
    if form == "TN":
        return turned_product(x.T, w, out)
    name = schedule(form, n, i, o)
    if name == "blas":
        _blas(x, w.T if turned[1] else w, out, *turned)
    elif form == "NN":
        _linear(name, x, w, None, None, out, PLAIN, "leaky", 1.0)
    else:
        _products(name, x, None, w.T, out, None, None, 0, PLAIN, "leaky", 1.0)
    return out


def turned_product(a, v, out):
    """out (i, o) = a^T v for (n, i), (n, o), of any number of rows, in slices of them; returns `out`."""
    name = schedule("TN", len(a), a.shape[1], v.shape[1])
    if name == "blas":
        return _blas(a, v, out, ta=True)
    (n, i), o, tile = a.shape, v.shape[1], WEIGHT_TILES[name]
    across, down = blocks(o, tile.columns), blocks(i, tile.rows)
    span = blocks(n, max(1, min(blocks(MOST, across * down), n // LEAST)))
    slices = blocks(n, span)
    sliced = out if slices == 1 else empty((slices, i * o), a)
    products.TALL[name]((across, down, slices), a, v, sliced, n, i, o, span, sizes=(i, o))
    if slices > 1:
        column_sums(sliced, out.reshape(i * o))
    return out
