"""A run's threads while other programs come and go: a played machine, no real clock and no real load."""

import os
from pathlib import Path

import pytest
from cli_helpers import TINY, ok, refused
from tiny import samples, tiny

import fastgan as fg
from fastgan import threads
from fastgan.gan import load, sharing
from fastgan.gan.sharing import Machine, Threads


class Played(Machine):
    """A machine whose clock the test turns, and on which others take `busy` of the cores."""

    def __init__(self, cores):
        self.cores, self.now, self.had, self.busy = cores, 0.0, 0.0, 0.0

    def clock(self):
        return self.now

    def free(self):
        return self.had

    def turn(self, own, seconds=sharing.LOOK):
        """Seconds pass, in which `own` threads run without rest and share the cores fairly with the others."""
        busy = min(self.cores, self.busy, self.cores * self.busy / (own + self.busy)) if self.busy else 0
        short = self.busy <= self.cores - own
        self.had += (self.cores - (self.busy if short else busy)) * seconds
        self.now += seconds


@pytest.fixture
def set_to(monkeypatch):
    """The numbers of BLAS threads that were asked for; its own is 4."""
    asked = []
    monkeypatch.setattr(sharing, "limit_blas_threads", asked.append)
    monkeypatch.setattr(sharing, "blas_threads_now", lambda: 4)
    monkeypatch.setattr(sharing, "threads_wished", lambda: [])
    return asked


def used(machine, runs, *loads):
    """The threads of the run second by second, where others are `busy` for so many seconds: (busy, seconds)."""
    seen = []
    for busy, seconds in loads:
        machine.busy = busy
        for _ in range(seconds):
            machine.turn(runs.used)
            before = runs.used
            assert runs.look() == (before if runs.used != before else 0)
            seen.append(runs.used)
    return seen


@pytest.mark.parametrize(
    ("cores", "loads", "wanted"),
    [
        (4, [(0, 60)], {4}),  # a quiet machine
        (4, [(0.1, 60)], {4}),  # nearly
        (4, [(0, 5), (3, 1), (0, 30)], {4}),  # a short load
        (4, [(0, 5), (4, 3)], {4, 2}),
        (4, [(1, 60)], {4, 3}),
        (4, [(400, 60)], {4, 1}),
        (8, [(1, 60)], {4}),  # there is another core
    ],
)
def test_threads_follow_what_is_left_of_the_cores(set_to, cores, loads, wanted):
    runs = Threads(None, split=False, machine=(machine := Played(cores)))
    with runs.running():
        assert set(used(machine, runs, *loads)) == wanted
    assert len(set_to) == len(wanted) - 1


def test_they_come_back_when_the_load_has_gone_for_long_and_never_flap(set_to):
    """A load that comes and goes every quarter of a minute, for an hour."""
    runs = Threads(None, split=False, machine=(machine := Played(4)))
    with runs.running():
        assert used(machine, runs, (8, 5))[-1] < 4
        back = used(machine, runs, (0, 30))
        assert back[0] < 4
        assert back[-1] == 4
        used(machine, runs, *[(8, 15), (0, 15)] * 120)
        assert len(set_to) <= 8
        assert used(machine, runs, (0, 3600))[-1] == 4


@pytest.mark.parametrize(
    ("given", "wished"),
    [
        ({"wanted": 3, "split": False}, []),
        ({"wanted": None, "split": True}, []),
        ({"wanted": None, "split": False, "small": True}, []),
        ({"wanted": None, "split": False}, [2]),
    ],
)
def test_a_number_that_was_asked_for_is_kept(set_to, monkeypatch, given, wished):
    monkeypatch.setattr(sharing, "threads_wished", lambda: wished)
    runs = Threads(**given, machine=(machine := Played(4)))
    with runs.running():
        assert set(used(machine, runs, (50, 60))) == {runs.most}
    assert not set_to


def test_a_second_fit_begins_as_the_first_ended_and_forgets_what_went_on_between(set_to):
    runs = Threads(None, split=False, machine=(machine := Played(4)))
    with runs.running():
        machine.busy = 4
        machine.turn(4, 1.5)
        runs.look()
    machine.turn(0, 100)
    with runs.running():
        assert set(used(machine, runs, (0, 1), (4, 1), (0, 5))) == {4}
        last = used(machine, runs, (4, 3))[-1]
        assert last < 4
    with runs.running():
        assert used(machine, runs, (0, 5)) == [last] * 5


@pytest.mark.parametrize("text", [None, "", "cpu 1 2\nintr 7\n", "cpu0 a b c d e f\n", "cpu0 1 1 1 0 0 1\n"])
def test_where_the_system_does_not_say_nothing_changes(set_to, monkeypatch, text):
    def read(path, **_):
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert Machine().free() is None
    runs = Threads(None, split=False, machine=(machine := Played(4)))
    machine.free = Machine().free
    with runs.running():
        machine.busy = 99
        assert set(used(machine, runs, (99, 9))) == {4}


def test_what_the_system_says(monkeypatch):
    """Idle time, waiting for the disk included, of the cores that the process may use, and its own."""
    text = "cpu 9 9 9 9 9 9\ncpu0 1 1 1 300 50 1\ncpu1 1 1 1 1000 0 1\ncpu2 1 1 1 7 0 1\nintr 5\n"
    monkeypatch.setattr(Path, "read_text", lambda path, **_: text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2}, raising=False)
    monkeypatch.setattr(sharing, "process_time", lambda: 20.0)
    assert Machine().free() == pytest.approx(357 / os.sysconf("SC_CLK_TCK") + 20)


def blas():
    pools = pytest.importorskip("threadpoolctl").threadpool_info()
    return {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}


def test_the_number_is_blas_s_in_the_block_and_what_it_was_after_it(monkeypatch):
    monkeypatch.setattr(sharing, "threads_wished", lambda: [])
    with threads.blas_threads(2):
        runs = Threads(None, split=False, machine=(machine := Played(2)))
        with runs.running():
            assert (runs.used, blas()) == (2, {2})
            used(machine, runs, (2, 5))
            assert (runs.used, blas()) == (1, {1})
        assert blas() == {2}
        with Threads(1, split=False).running():
            assert blas() == {1}


def test_a_run_says_when_it_takes_fewer(monkeypatch, capsys):
    """Looked at after every step; told to callbacks, and printed."""
    from fastgan.cli.progress import shown

    seen = []

    class Look(fg.Callback):
        def on_threads(self, trainer, before):
            seen.append((trainer.steps_done, before, trainer.threads.used))

    recipe = tiny("digits")
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu")

    def look():
        if trainer.steps_done == 3:
            trainer.threads.most, trainer.threads.used = 2, 1
            return 2
        return 0

    monkeypatch.setattr(trainer.threads, "look", look)
    with shown(5) as callbacks:
        trainer.fit(5, [Look(), *callbacks])
    assert seen == [(3, 2, 1)]
    assert "--threads" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_the_option_is_kept_with_the_run(capsys):
    ok(capsys, "train", "--threads", 3, "--steps", 2, *TINY, "--out", "run")
    assert "\nthreads = 3\n" in Path("run/config.toml").read_text()
    ok(capsys, "resume", "run", "--steps", 3)
    ok(capsys, "train", "--config", "run/config.toml", "--out", "again")
    assert "\nthreads = 3\n" in Path("again/config.toml").read_text()
    ok(capsys, "train", "--steps", 2, *TINY, "--out", "free")
    assert "threads" not in Path("free/config.toml").read_text()
    assert load("run", device="cpu", threads=2).threads.wanted == 2
    for words in (("train",), ("train", "--config", "run/config.toml"), ("resume", "run", "--steps", 9)):
        assert "1 to 1024" in refused(capsys, 2, *words, "--threads", 0)


def test_resume_has_the_run_s_number(monkeypatch, capsys, run):
    from fastgan.cli import train as module

    found = []
    monkeypatch.setattr(module, "_fit", lambda trainer, *_, **__: found.append(trainer.threads.wanted) or 0)
    config = Path("run/config.toml")
    config.write_text("threads = 2\n" + config.read_text())
    ok(capsys, "resume", "run", "--steps", 9)
    ok(capsys, "resume", "run", "--steps", 9, "--threads", 5)
    assert found == [2, 5]
