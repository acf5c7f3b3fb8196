"""The self-test finds what a broken machinery would do, in a world whose clock only work moves."""

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from fastgan.benchmarks import selftest, turns
from fastgan.benchmarks.columns import COLUMNS, Clock
from fastgan.benchmarks.turns import LostError

pytestmark = pytest.mark.slow

GPU = {"cuda-kernels": COLUMNS["cuda-kernels"]}


class World:
    """A clock, and how slow the machine is: by the round, and for one contestant."""

    def __init__(self):
        self.now, self.queue, self.workers = 1.0, 0.0, []
        self.slowness = [1.0]
        self.slow = {}  # by the order of the workers

    def work(self, seconds):
        self.now += seconds


class Worker:
    """turns.Worker in this process."""

    def __init__(self, world, factory, *arguments):
        self.world, self.made_with, self.held, self.ended = world, (factory, *arguments), None, False
        self.number, self.turns = len(world.workers), 0
        world.workers.append(self)

    def ask(self, method, *arguments):
        self.asked = method, arguments

    def answer(self, seconds):
        factory, *arguments = self.made_with
        if self.number in self.world.slow and self.world.slow[self.number] is None:
            raise LostError("no answer in time")
        self.held = self.held or factory(*arguments)
        method, arguments = self.asked
        drift = self.world.slowness[self.turns % len(self.world.slowness)]
        self.turns += method == "turn"
        self.world.factor = drift * self.world.slow.get(self.number, 1.0)
        return getattr(self.held, method)(*arguments)

    def call(self, seconds, method, *arguments):
        self.ask(method, *arguments)
        return self.answer(seconds)

    def end(self):
        self.ended = True


@pytest.fixture
def world(monkeypatch):
    found = World()
    found.factor = 1.0
    monkeypatch.setattr(Clock, "now", lambda self: found.now)
    monkeypatch.setattr(selftest, "spin", found.work)
    monkeypatch.setattr(selftest, "divide", lambda x, count: found.work(count * 2e-6 * found.factor))
    monkeypatch.setattr(turns, "Worker", lambda *made_with: Worker(found, *made_with))
    return found


@pytest.fixture
def gpu(world, monkeypatch):
    """A GPU in that world: kernels begin when those before have ended, and asking takes 5 microseconds."""

    def kernel(grid, block, arguments):
        world.now += 5e-6
        world.queue = max(world.now, world.queue) + int(arguments[0]) / 1e9

    def synchronize():
        world.now = max(world.now, world.queue)

    class Event:
        def record(self):
            self.at = max(world.now, world.queue)

    cupy = ModuleType("cupy")
    cupy.RawKernel = lambda source, name: kernel
    cupy.cuda = SimpleNamespace(
        Device=lambda: SimpleNamespace(synchronize=synchronize),
        Event=Event,
        get_elapsed_time=lambda start, end: (end.at - start.at) * 1e3,
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def failed(found):
    assert found["passed"] == (not [check for check in found["checks"] if not check["passed"]])
    (line,) = found["lines"]
    assert ("busy" in line) != found["passed"]
    return {check["name"] for check in found["checks"] if not check["passed"]}


def turn(step, clock, *, steps, seconds, waits=1, begins=1, each=0, host=0, drop=0, per=1, units=1):
    """turns.turn, with the mistakes that one could make in it."""
    for _ in range(steps // 5 + 1):
        step()
    if begins:
        clock.wait()
    chunks, spent = [], 0.0
    while not chunks or spent < seconds:
        start, first = clock.now(), clock.mark()
        for _ in range(steps):
            step()
            if each:
                clock.wait()
        last, asked = clock.mark(), clock.now()
        if waits:
            clock.wait()
        end = asked if host else clock.now()
        count = steps if per else 1
        device = clock.between(first, last) * units
        chunks.append(((asked - start) / count, (end - start) / count, device / count))
        spent += clock.now() - start + 1e-4  # ends where nothing seems to take time
    return chunks[drop:]


# What is right passes
@pytest.mark.parametrize("size", ["full", "quick", "tiny"])
def test_true_timing_passes(world, size):
    found = selftest.run({}, size)
    assert failed(found) == set()
    assert [check["name"] for check in found["checks"][-3:]] == ["again", "a tenth more", "twice"]
    assert found["checks"][-2]["found"] == pytest.approx(1.1)
    assert found["rounds"] == selftest.ROUNDS[size]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(worker.ended for worker in world.workers)


def test_a_copy_of_the_machinery_without_a_mistake_passes(world, gpu, monkeypatch):
    monkeypatch.setattr(turns, "turn", turn)
    assert failed(selftest.run(GPU, "quick")) == set()


def test_with_a_gpu_its_clocks_are_tested(world, gpu):
    found = selftest.run(GPU, "tiny")
    assert failed(found) == set()
    names = {check["name"] for check in found["checks"]}
    assert {"known length, later, the GPU", "known length, later, the GPU, by its events"} <= names
    assert "asking, later, the GPU" in names
    assert not any("GPU" in check["name"] for check in selftest.run({}, "tiny")["checks"])


def test_a_machine_whose_speed_drifts_alike_for_all_passes(world):
    world.slowness = [1.0, 1.9, 0.7, 3.0]
    assert failed(selftest.run({}, "full")) == set()


# What is wrong does not
MISTAKES = {
    "forgets to wait": {"waits": False},
    "begins before the warm-up has ended": {"begins": False},
    "waits after each step": {"each": True},
    "measures only the host": {"host": True},
    "drops the first chunk": {"drop": 1},
    "gives the time of a chunk for that of a step": {"per": False},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_turn_is_found(world, monkeypatch, mistake):
    monkeypatch.setattr(turns, "turn", lambda *args, **given: turn(*args, **given, **MISTAKES[mistake]))
    found = failed(selftest.run({}, "quick"))
    assert {name for name in found if name.endswith(("later, here", "another process"))}


@pytest.mark.parametrize("mistake", [*MISTAKES, "events in milliseconds"])
def test_a_mistake_with_a_gpu_is_found(world, gpu, monkeypatch, mistake):
    wrong = MISTAKES.get(mistake, {"units": 1e3})
    monkeypatch.setattr(turns, "turn", lambda *args, **given: turn(*args, **given, **wrong))
    assert any(
        name.startswith(("known length, later, the GPU", "asking, later, the GPU"))
        for name in failed(selftest.run(GPU, "quick"))
    )


def test_waiting_for_nothing_is_found_on_a_gpu(world, gpu):
    gpu.cuda.Device = lambda: SimpleNamespace(synchronize=lambda: None)
    assert "known length, later, the GPU" in failed(selftest.run(GPU, "tiny"))


def test_ratios_of_the_wrong_rounds_are_found(world, monkeypatch):
    right = turns.ratio
    monkeypatch.setattr(turns, "ratio", lambda a, b: right(a[1:], b[:-1]))
    assert failed(selftest.run({}, "full")) == {"again", "a tenth more", "twice"}


def test_rounds_in_another_order_for_one_are_found(world, monkeypatch):
    right = turns.in_turn

    def shifted(*args, **given):
        blocks, lost = right(*args, **given)
        return blocks | {"once": blocks["once"][1:] + blocks["once"][:1]}, lost

    monkeypatch.setattr(turns, "in_turn", shifted)
    assert "again" in failed(selftest.run({}, "full"))


def test_a_ratio_that_sees_no_difference_is_found(world, monkeypatch):
    monkeypatch.setattr(turns, "ratio", lambda a, b: (1.0, 1.0, 1.0))
    assert failed(selftest.run({}, "tiny")) == {"a tenth more", "twice"}


@pytest.mark.parametrize("off", [0.935, 0.965, 1.035, 1.07])
def test_a_busy_machine_is_said_in_plain_words_and_is_not_asked_again(world, monkeypatch, off):
    rounds = []
    right = turns.in_turn
    monkeypatch.setattr(turns, "in_turn", lambda *args, **given: rounds.append(1) or right(*args, **given))
    world.slow[1] = off
    found = selftest.run({}, "full")
    assert failed(found) == {"again"}
    assert f"equal work differed by {abs(off - 1) * 100:.3g} %" in found["lines"][0]
    assert len(rounds) == 1


@pytest.mark.parametrize(("off", "passes"), [(0.98, True), (1.02, True), (0.96, False), (1.04, False)])
def test_a_tenth_more_must_be_found_closely(world, off, passes):
    world.slow[2] = off
    found = selftest.run({}, "quick")
    assert failed(found) == (set() if passes else {"a tenth more"})


@pytest.mark.parametrize(("off", "passes"), [(1.015, True), (1.025, False), (0.985, True), (0.975, False)])
def test_known_lengths_must_be_found_closely(world, monkeypatch, off, passes):
    monkeypatch.setattr(selftest, "spin", lambda seconds: world.work(seconds * off))
    found = selftest.run({}, "quick")
    assert bool(failed(found)) != passes
    assert passes or {name.partition(",")[0] for name in failed(found)} == {"known length"}


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_process_that_is_lost_fails_it(world, number):
    world.slow[number] = None
    found = selftest.run({}, "tiny")
    assert not found["passed"]
    names = [*selftest.WORK, "another process"]
    assert f"the process of {names[number]!r} was lost: no answer in time" in found["lines"][0]
    assert all(worker.ended for worker in world.workers)


def test_all_processes_lost_is_no_crash(world):
    world.slow = dict.fromkeys(range(5))
    found = selftest.run({}, "tiny")
    assert not found["passed"]
    assert found["rounds"] == 0
    assert found["lines"][0].count("lost") == 5


# The real thing
def test_a_tenth_more_must_be_found_in_most_rounds():
    found = selftest.Check(
        "a tenth more", wanted=1.1, found=1.1, low=0.93, high=1.15, allowed=0.03, failure=""
    )
    assert not found.passed
    assert replace(found, low=1.01).passed
    assert replace(found, wanted=1.0, found=1.0, allowed=0.03).passed  # equal work may be on either side


def test_spinning_ends_by_its_own_clock(monkeypatch):
    times = iter([100, 100 + 999_999, 100 + 1_000_000, 0])
    monkeypatch.setattr(selftest, "ticks", lambda: next(times))
    selftest.spin(0.001)
    assert next(times) == 0


def test_the_arithmetic_needs_the_pass_before_and_does_not_drift():
    x = selftest.numbers()
    selftest.divide(x, 1)
    assert x == pytest.approx(3.141592653589793 / selftest.numbers())
    selftest.divide(x, 999)
    assert x == pytest.approx(selftest.numbers())


def test_it_runs_here_in_real_processes():
    found = selftest.run({"numpy": COLUMNS["numpy"]}, "tiny")
    names = [check["name"] for check in found["checks"]]
    assert names[:3] == ["known length, here", "known length, later, here", "asking, later, here"]
    assert names[3:5] == ["known length, later, another process", "asking, later, another process"]
    assert names[5:] == ["again", "a tenth more", "twice"]
    assert found["rounds"] > 0
    assert found["lines"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_kernel_that_spins_compiles():
    nvrtc = pytest.importorskip("cupy").cuda.nvrtc
    try:
        program = nvrtc.createProgram(selftest.SPIN, "spin.cu", [], [])
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"NVRTC is not there: {error}")
    nvrtc.compileProgram(program, ["--gpu-architecture=compute_90"])
    text = nvrtc.getPTX(program).decode()
    assert text.count("%globaltimer") == 2
    assert "bra" in text
