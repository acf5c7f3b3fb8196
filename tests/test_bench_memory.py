"""Memory that training adds: the peak of a fresh process, whose baseline leaves out libraries and compiled kernels."""

import re
import sys
from mmap import mmap
from types import SimpleNamespace

import pytest

from fastgan.benchmarks import memory, turns
from fastgan.benchmarks.columns import COLUMNS, Column

pytestmark = pytest.mark.slow

SMALL = {"batch": 2, "width": 8, "depth": 1, "data": 100}


@pytest.fixture
def status():
    if memory._status("VmRSS") == 0:
        pytest.skip("no /proc here")


def touch(size):
    """Use so many bytes and give them back; pages of their own, because NumPy's may lie in memory that was kept."""
    with mmap(-1, size) as pages:
        for start in range(0, len(pages), 4096):
            pages[start] = 1


@pytest.mark.usefixtures("status")
def test_a_peak_is_of_what_comes_after_the_baseline():
    touch(64 * memory.MIB)
    before = memory.baseline()
    assert memory.peak() - before < 8 * memory.MIB
    touch(32 * memory.MIB)
    assert 30 * memory.MIB < memory.peak() - before < 48 * memory.MIB


class Greedy(memory.Probe):
    """Training that uses so many MiB, and twice that with the small network before."""

    def __init__(self, column, size):
        super().__init__(column)
        self.size, self.trained = size * memory.MIB, []

    def train(self, sizes):
        self.trained.append(sizes)
        if sizes["batch"] == 2 and sizes["width"] == 8:
            touch(2 * self.size)
        before = self.used()
        touch(self.size)
        return self.most() - before

    def asked(self):
        return self.trained


@pytest.mark.usefixtures("status")
@pytest.mark.parametrize("size", [1, 65])
def test_a_process_says_how_much_was_added_at_the_peak(size):
    sizes = {"batch": 4, "width": 16, "depth": 3}
    worker = turns.Worker(Greedy, COLUMNS["numpy"], size)
    try:
        added = worker.call(60, "added", sizes)
        assert size - 1 < added / memory.MIB < size + 8  # the system counts in steps of 256 KiB and more
        assert worker.call(60, "asked") == [sizes | {"batch": 2, "width": 8, "data": 100}, sizes]
    finally:
        worker.end()


@pytest.mark.usefixtures("status")
def test_more_images_need_more_memory():
    """20,000 images of 784 bytes are 15 MiB."""
    few, many = (added("numpy", data=n) for n in (100, 20_100))
    assert 12 * memory.MIB < many - few < 40 * memory.MIB


@pytest.mark.usefixtures("status")
def test_a_peer_has_its_images_once_in_floats():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    many = added("torch", data=20_000)
    assert 55 * memory.MIB < many < 110 * memory.MIB


def added(column, **sizes):
    return memory.added([COLUMNS[column]], SMALL | sizes, 120)[column]


def test_a_process_that_fails_says_why_in_one_line_and_the_others_answer():
    found = memory.added([COLUMNS["jax"], COLUMNS["numpy"]], SMALL | {"data": 1}, 120)
    assert list(found) == ["jax", "numpy"]
    assert isinstance(found["numpy"], turns.LostError)
    assert re.fullmatch("DataError: .*fewer than 2 samples.*", str(found["numpy"]))


class PlayedWorker:
    """Keeps in `log` what is asked of the processes."""

    def __init__(self, factory, column):
        self.name = column.name

    def ask(self, method, sizes):
        self.log.append(("ask", self.name))

    def answer(self, seconds):
        self.log.append(("answer", self.name))
        if self.name == "torch":
            raise KeyboardInterrupt
        return 5

    def end(self):
        self.log.append(("end", self.name))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_processes_run_at_once_unless_they_share_a_gpu_and_end(device, monkeypatch):
    monkeypatch.setattr(memory, "Worker", PlayedWorker)
    monkeypatch.setattr(PlayedWorker, "log", log := [], raising=False)
    columns = [Column(name, "", device, name) for name in ("ours", "torch")]
    with pytest.raises(KeyboardInterrupt):
        memory.added(columns, SMALL, 1)
    asked = [("ask", "ours"), ("ask", "torch"), ("answer", "ours"), ("answer", "torch")]
    one_by_one = [asked[0], asked[2], asked[1], asked[3]]
    assert log == (asked if device == "cpu" else one_by_one) + [("end", "ours"), ("end", "torch")]


def test_of_a_gpu_the_bytes_count_that_are_not_free(monkeypatch):
    """The pools' own counts would miss what graphs, streams and libraries took."""
    waited = []
    device = SimpleNamespace(synchronize=lambda: waited.append(True))
    runtime = SimpleNamespace(memGetInfo=lambda: (30, 100))
    cupy = SimpleNamespace(cuda=SimpleNamespace(Device=lambda: device, runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert memory.Probe(COLUMNS["cuda-graph"]).used() == 70
    assert waited == [True]
    torch = SimpleNamespace(cuda=SimpleNamespace(mem_get_info=lambda: (25, 100)))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert memory.used_of_gpu(COLUMNS["torch"]) == 75
