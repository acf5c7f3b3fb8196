"""The suites of kernels and layers: every case right in every column that is here, and wrong ones refused."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from fastgan import dispatch, random
from fastgan.benchmarks import kernel_operations, operations, peer_kernels, state_operations
from fastgan.benchmarks.cases import AbsentError, Station, against, summary
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.operations import Operation, copies
from fastgan.benchmarks.suites import kernels, layers
from fastgan.gan import batches

pytestmark = pytest.mark.slow

SUITES = (kernels, layers)
TINY = {case.key: case for suite in SUITES for case in suite.cases("tiny")}
ON_CPU = ("numpy", "cpu-kernels", "torch", "jax", "autograd")
CPU = COLUMNS["cpu-kernels"]
GPU = COLUMNS["cuda-kernels"]


def quick(group: str) -> Operation:
    return next(operation for operation in kernels.operations("quick") if operation.group == group)


@pytest.mark.parametrize("column", ON_CPU)
@pytest.mark.parametrize("key", TINY)
def test_a_tiny_case_is_right_and_steps(key, column):
    case = TINY[key]
    if reason := COLUMNS[column].absent():
        pytest.skip(reason)
    if column not in case.columns:
        with pytest.raises(AbsentError, match="no counterpart"):
            case.make(COLUMNS[column])
        return
    work = case.make(COLUMNS[column])
    assert case.wrong({column: summary(work.first())}) == {}
    ((asking, total, _),) = work.turn(3, 0.0)
    assert 0 < asking <= total


@pytest.mark.parametrize("key", TINY)
def test_a_result_that_is_off_by_a_percent_is_refused(key):
    case, found = TINY[key], TINY[key].make(COLUMNS["numpy"]).first()
    for number in range(len(found)):
        off = [np.array(x, np.float64) for x in found]
        off[number] *= 1.01
        assert f"result {number}" in case.wrong({"numpy": summary(off)})["numpy"]
        assert case.wrong({"numpy": summary(found[:number])})


def test_a_mistake_between_the_elements_that_are_compared_is_in_the_sums():
    right = np.ones(200_000)
    wrong = against(lambda: [right], 1e-4)
    off = right.copy()
    off[1:60:4] = 3
    off[2:60:4] = -1  # the sum is the same, the absolute sum is not
    assert wrong({"a": summary([right]), "b": summary([off])}).keys() == {"b"}
    off = right.copy()
    off[1:60] = -1
    off[61] = 1 + 59 * 2
    assert list(wrong({"c": summary([off])})) == ["c"]


def test_tf32_is_refused():
    operation = quick("linear_leaky_relu_forward")
    case = operation.case("kernels", "quick")
    operands = operation.operands()
    assert case.wrong({"torch": summary(operation.own(*operands))}) == {}
    rounded = [(x.view(np.uint32) + 2**12 & 0xFFFFE000).view(np.float32) for x in operands]
    assert "allowed" in case.wrong({"torch": summary(operation.own(*rounded))})["torch"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: np.zeros(n),
        lambda rng, n: rng.normal(0.01, 1, n),
        lambda rng, n: rng.normal(0, 1.01, n),
        lambda rng, n: rng.uniform(-(3**0.5), 3**0.5, n),
        lambda rng, n: rng.choice([-1, 1], n) * (2 / np.pi) ** 0.5,
    ],
    ids=["nothing", "mean", "width", "uniform", "two values"],
)
def test_a_peers_noise_must_be_normal(draw):
    case = state_operations.noise(10**6).case("kernels", "full")
    rng = np.random.default_rng(1)
    good = {"torch": summary([rng.normal(size=10**6)])}
    assert case.wrong(good) == {}
    assert case.wrong({"torch": summary([draw(rng, 10**6)])})
    assert case.wrong({"numpy": good["torch"]}), "ours must have fastgan's own bits"


@pytest.mark.parametrize("size", ["full", "quick", "tiny"])
def test_names_are_unique_and_costs_known(size):
    cases = [case for suite in SUITES for case in suite.cases(size)]
    assert len({case.key for case in cases}) == len(cases)
    assert all(case.bytes > 0 and case.flops > 0 for case in cases)
    assert all(("torch-compiled" in case.columns) <= (size == "full") for case in cases)


@pytest.mark.parametrize(
    ("key", "size", "flops"),
    [
        ("linear_leaky_relu_forward/4x6x5", 4 * (24 + 30 + 5 + 20), 2 * 4 * 6 * 5),
        ("linear_leaky_relu_backward/4x6x5", 4 * (20 + 24 + 30 + 24 + 30 + 5), 4 * 4 * 6 * 5),
        ("adam/50", (4 + 3) * 4 * 50, 13 * 50),
        ("rmsprop/50", (3 + 2) * 4 * 50, 9 * 50),
        ("batch_sampling/6x20", 6 * 20 + 4 * 6 * 20, 2 * 6 * 20),
        # 6 x 6 x 3 by 3 x 3 windows: 4 x 4 x 4, a bias of 4
        ("conv_forward/plain", 4 * (2 * 108 + 108 + 2 * 64 + 4), 2 * 2 * 64 * 27),
        # padded below and at the right, every second window: 3 x 3 x 4
        ("conv_backward_weight/same", 4 * (2 * 108 + 108 + 2 * 36), 2 * 2 * 36 * 27),
        ("max_pool/2x4x4x3", 4 * (96 + 24), 24 * 3),
    ],
)
def test_costs_are_those_counted_by_hand(key, size, flops):
    case = TINY[f"kernels/{key}"]
    assert (case.bytes, case.flops) == (size, flops)


def test_every_kernel_and_layer_that_the_suite_promises_is_there():
    promised = {
        *("linear_leaky_relu_forward", "linear_leaky_relu_backward", "adam", "rmsprop", "noise"),
        *("batch_norm_forward", "batch_norm_backward", "batch_sampling", "max_pool", "score_loss", "penalty"),
        *("conv_forward", "conv_backward_data", "conv_backward_weight"),
    }
    for size in ("full", "tiny"):
        assert {case.group for case in kernels.cases(size)} == promised
    assert {case.group for case in kernels.cases("quick")} == promised - {
        *("rmsprop", "max_pool", "score_loss", "penalty"),
    }
    directions = ("forward", "forward_backward")
    both = ("linear", "batch_norm", "layer_norm", "conv2d", "conv_transpose2d")
    assert {case.group for case in layers.cases("full")} == {
        *(f"{layer}_{direction}" for layer in both for direction in directions),
        "critic_penalty",
    }
    grid = [c.shape for c in kernels.cases("full") if c.group == "linear_leaky_relu_forward"]
    assert {(s["batch"], s["in"], s["out"]) for s in grid} >= {
        *((128, 100, 256), (32, 784, 256), (128, 784, 256), (128, 1024, 1024), (1024, 1024, 1024)),
    }
    adam = [c.shape["parameters"] for c in kernels.cases("full") if c.group == "adam"]
    assert adam == [10**4, 10**5, 10**6, 10**7, 10**8]


@pytest.mark.parametrize("column", [CPU, GPU], ids=["cpu", "cuda"])
def test_fresh_inputs_are_larger_than_the_cache_all_together(column, monkeypatch):
    monkeypatch.setattr(operations, "memory", lambda device: 2**38)
    monkeypatch.setattr(operations, "cache_bytes", lambda device: 100 << 20)
    seen = 0
    for operation in kernels.operations("full"):
        least = 2 * operations.cache_bytes(column.where())
        if operation.fresh and operation.bytes < 10**8:
            size = sum(x.nbytes for x in operation.operands())
            assert size * copies(size, column, most=operation.most) > least, operation.name
            seen += 1
    assert seen >= 10
    rows = state_operations.batch(128, 784, 0).operands()[0]
    assert rows.nbytes > 2 * operations.cache_bytes("cpu")


@pytest.mark.parametrize("make", [state_operations.adam, state_operations.rmsprop])
def test_large_operands_repeat_and_are_held_against_one_period(make, monkeypatch):
    for module in (kernel_operations, state_operations):
        monkeypatch.setattr(module, "PERIOD", 1000)
    operation = make(2500)
    for x in operation.operands():
        np.testing.assert_array_equal(x, np.resize(x[:1000], 2500))
    case = operation.case("kernels", "full")
    found = case.make(COLUMNS["numpy"]).first()
    assert against(lambda: operations.reference(operation), 1e-5)({"numpy": summary(found)}) == {}
    assert case.wrong({"numpy": summary(found)}) == {}
    for result in found:
        right = result[2400]
        result[2400] += np.abs(result).max()
        assert case.wrong({"numpy": summary(found)})
        result[2400] = right


def test_no_column_asks_for_gigabytes_of_temporary_arrays():
    large = {case.key: case.columns for case in kernels.cases("full")}
    assert not {"numpy", "autograd", "torch-compiled"} & {*large["kernels/adam/1e8"]}
    assert {"cpu-kernels", "cuda-graph", "torch"} <= {*large["kernels/adam/1e8"]}
    assert {"numpy", "autograd", "jax"} <= {*large["kernels/adam/1e7"]}
    assert "numpy" not in large["kernels/noise/1e7"]


@pytest.mark.parametrize("column", ["numpy", "torch", "autograd"])
def test_copies_share_no_memory_and_only_one_set_is_the_operands_themselves(column, monkeypatch):
    if reason := COLUMNS[column].absent():
        pytest.skip(reason)
    monkeypatch.setattr(operations, "cache_bytes", lambda device: 28_000)
    operation, seen = state_operations.adam(1000), []
    kept = operation.operands()
    monkeypatch.setattr(
        peer_kernels, "_calls", lambda engine, rival, given: seen.append(list(given)) or (None, None)
    )
    work = operations.make(replace(operation, operands=lambda: kept), COLUMNS[column])
    sets = work.sets if column == "numpy" else seen
    assert len(sets) > 2
    arrays = [x for own in sets for x in own]
    assert not any(np.shares_memory(a, b) for a, b in combinations(arrays, 2))
    assert sum(any(x is y for y in kept) for x in arrays) == len(kept)


def test_right_answers_of_noise_and_batches_are_array_codes(monkeypatch):
    seen, normal, assemble = [], random.normal, batches.assemble

    def spy(function):
        return lambda *a, **k: seen.append(dispatch._kernels_wanted.get()) or function(*a, **k)

    monkeypatch.setattr(state_operations.random, "normal", spy(normal))
    monkeypatch.setattr(state_operations.batches, "assemble", spy(assemble))
    for key in ("kernels/noise/1e3", "kernels/batch_sampling/6x20"):
        TINY[key].wrong({"cpu-kernels": [np.zeros(3)]})
    assert seen == [False, False]


def test_a_rotation_goes_through_all_copies_and_begins_with_untouched_ones(monkeypatch):
    monkeypatch.setattr(operations, "cache_bytes", lambda device: 28_000)
    seen = []
    operation = replace(
        state_operations.adam(1000), own=lambda *xs: seen.append(id(xs[0])) or [*xs[:1], *xs[2:]]
    )
    work = operations.make(operation, COLUMNS["numpy"])
    assert len(work.sets) == 2 * 28_000 // 16_000 + 1
    work.first()
    work.turn(7, 0.0)
    assert seen[: 2 * len(work.sets)] == [id(operands[0]) for operands in work.sets] * 2


def test_operands_are_the_same_each_time_and_large_ones_are_no_copies_of_small_blocks():
    for operation in kernels.operations("tiny"):
        for a, b in zip(operation.operands(), operation.operands(), strict=True):
            np.testing.assert_array_equal(a, b)
    p, g, *_ = state_operations.adam(10**6).operands()
    assert abs(np.corrcoef(p, g)[0, 1]) < 0.01
    assert len(np.unique(p)) > 900_000


def test_no_unit_of_a_leaky_relu_is_so_near_0_that_rounding_would_choose_its_slope():
    """A sum in another order may be off by 3e-6: then one unit's gradient would be another one in another column."""
    forward, backward = layers.linear(*layers.SIZES["full"]["linear"])
    for operation in (forward, backward):
        x, w, b, _ = (a.astype(np.float64) for a in operation.operands())
        assert np.abs(x @ w + b).min() > 1e-4
    real, fake, mix, *pairs = (
        a.astype(np.float64) for a in layers.critic(*layers.SIZES["full"]["critic"]).operands()
    )
    x = fake + mix * (real - fake)
    for w, b in zip(pairs[:-2:2], pairs[1:-2:2], strict=True):
        z = x @ w + b
        assert np.abs(z).min() > 1e-4
        x = np.where(z > 0, z, z * layers.SLOPE)


def test_what_does_not_fit_into_memory_says_so(monkeypatch):
    monkeypatch.setattr(operations, "memory", lambda device: 180_000)
    with pytest.raises(AbsentError, match=r"needs 0\.0 GB in each column, this machine has 0 GB for all"):
        operations.make(state_operations.adam(1000), COLUMNS["numpy"])
    monkeypatch.setattr(operations, "memory", lambda device: 200_000)
    assert len(operations.make(state_operations.adam(1000), COLUMNS["numpy"]).sets) == 1


def test_columns_without_a_counterpart_say_so():
    for key, column in (("conv_forward/plain", "autograd"), ("adam/50", "torch-graph")):
        with pytest.raises(AbsentError, match=f"{column} has no counterpart"):
            TINY[f"kernels/{key}"].make(COLUMNS[column])
    with pytest.raises(AbsentError, match="no counterpart"):
        operations.make(replace(state_operations.adam(9), rival=None), COLUMNS["torch"])


def test_pytorchs_layouts_are_turned_and_turned_back():
    for layout, axes in peer_kernels.LAYOUTS.items():
        x = np.arange(2 * 3 * 4 * 5).reshape((2, 3, 4, 5) if len(axes) == 4 else (24, 5))
        turned = peer_kernels.turned(x, layout)
        np.testing.assert_array_equal(peer_kernels.turned_back(turned, layout), x)


def test_batches_are_drawn_anew_by_each_call_and_a_graph_shows_its_last():
    operation = next(o for o in kernels.operations("tiny") if o.group == "batch_sampling")
    work = operations.make(operation, COLUMNS["numpy"])
    batches = [np.array(work.once()[0]) for _ in range(41)]
    assert len({batch.tobytes() for batch in batches}) == 41
    case = operation.case("kernels", "tiny")
    assert case.wrong({"numpy": summary([batches[0]]), "cuda-graph": summary([batches[19]])}) == {}
    assert case.wrong({"numpy": summary([batches[1]]), "cuda-graph": summary([batches[0]])}).keys() == {
        *("numpy", "cuda-graph"),
    }


def test_a_worker_finds_a_case_by_its_name_and_says_what_it_found():
    station = Station(COLUMNS["numpy"])
    said = station.prepare("kernels/score_loss/8", "tiny")
    assert TINY["kernels/score_loss/8"].wrong({"numpy": said["results"]}) == {}
    assert said["count"] >= 1
    assert len(station.turn(said["count"], 0.0)) == 1
