"""What stands in a file for --config."""

from tries.making import WORKS, Make, Try, a_pickle, a_run, content, fifo, link

# all but the first line of a dense network, as config.toml had it before version 0.1
WIDTHS = """activation = ["relu"]\nslope = 0.2\noutput = "tanh"\ninit = "torch"\ninit_scale = 1\nbatch_norm = 0.0
norm_first = false\nnorm_eps = 1e-5\nnorm_correction = 1\nhidden_bias = true\npieces = 5\ndropout = 0.5
"""
COMPLETE = 'fastgan = "0.1.0"\nrecipe = "digits"\ndevice = "cpu"\n'


def toml(text: bytes | str, word: str, wanted: int = 2, more: str = "") -> Try:
    """A file of this text."""
    return Try(f"fit --config some.toml {more}", wanted, word, content("some.toml", text))


def good(text: bytes | str, word: str = "", more: str = "") -> Try:
    """A file that works, with a warning perhaps."""
    return toml(text, word, WORKS, more)


def at(name: str, word: str, *make: Make) -> Try:
    """A file of this name."""
    return Try(f"fit --config {name}", word=word, make=make)


WIDE = f"[generator]\nhidden = [3]\n{WIDTHS}"
TRIES = [
    good("# nothing\n"),
    good(b"\xef\xbb\xbfseed = 3\r\n[optimizer]\r\nlr = 0.1\r\n"),
    good("[optimiser]\nlr = 1\n"),  # as it was spelt until version 0.1
    good("[generator]\ninit_scale = 2\n"),
    good('fastgan = "99.0"\nrecipe = "digits"\n', "fastgan 99.0"),
    good('fastgan = "0.0.1"\nrecipe = "digits"\n', "fastgan 0.0.1"),
    good(f"{COMPLETE}picture_size = 64\n"),
    toml("stepz = 3", "did you mean steps?"),
    toml("lr = 3", "did you mean optimizer.lr?"),
    toml("critic-steps = 3", "did you mean critic_steps?"),
    toml("[critic]\nlaiers = [3]", "critic.laiers"),
    toml("[generator]\nslope = 0\n", "generator.slope"),
    toml("[optimzer]\nlr = 1", "got 'optimzer'"),
    toml("[[generator]]\nhidden = [1]", "wanted a table"),
    toml("optimizer = 'adam'", "wanted a table"),
    toml("out = 'x'", "--out"),
    toml("no-capture = true", "--no-capture"),
    toml("name = 'x'", "got 'name'"),
    toml("published = {}", "published is {}"),
    toml("steps = 'many'", "steps is 'many', wanted a whole number"),
    toml("steps = true", "wanted a whole number"),
    toml("steps = 1979-05-27", "wanted a whole number"),
    toml("batch = 99999999999999999999", "got batch 9999"),
    toml("ema = 'x'", "wanted a number"),
    toml("points = 1", "wanted true or false"),
    toml("objective = [1]", "wanted text"),
    toml("[optimizer]\nmomentum = 2", "got optimizer.momentum 2"),
    toml("[generator]\nlayers = 'relu'", "wanted a list of layers"),
    toml("[generator]\nlayers = [1]", "wanted a list of layers"),
    toml("[generator]\nhidden = [4]", "without activation, slope"),
    toml(WIDE.replace("[3]", "'abc'"), "generator: hidden is 'abc'"),
    toml(WIDE.replace("[3]", "[3, 4]"), "got 1 activations for 2 hidden layers"),
    Try("train --config some.toml", 2, "linear 0", content("some.toml", WIDE.replace("[3]", "[0]"))),
    Try("train --config some.toml --steps 1 --batch 4 --device cpu", WORKS, "", content("some.toml", WIDE)),
    toml("data = ''", "no name for the data"),
    toml("image_size = 'x'", "wanted a whole number"),
    toml("picture_size = 99", "picture_size"),
    Try("train --config some.toml", 2, "'gpu'", content("some.toml", "device = 'gpu'")),
    toml("seed = 'a'", "seed is 'a'"),
    toml("recipe = 'digitz'", "did you mean digits?"),
    toml("recipe = 'digits'", "leave one of them out", more="keras-mlp"),
    toml("own_networks = true", "networks of its own"),
    toml("fastgan = 3", "fastgan is 3"),
    toml("steps = 1\nsteps = 2", "is not TOML"),
    toml("\0", "is not TOML"),
    toml("steps = 1".encode("utf-16"), "utf-8"),
    toml("x = " + "[" * 5000, "is not TOML"),
    toml("steps = " + "9" * 5000, "some.toml"),
    at("nope.toml", "cannot read nope.toml"),
    at("''", "cannot read"),
    at("x" * 300, "cannot read"),
    at("fifo", "not a file", fifo("fifo")),
    at("zero", "not a file", link("zero", "/dev/zero")),
    at("loop", "cannot read", link("loop", "loop")),
    at("evil.toml", "is not TOML", a_pickle("evil.toml")),
    at("run/checkpoints/step-00000004.safetensors", "is not TOML", a_run),
    Try("train --config run/config.toml --quiet --out again", WORKS, make=a_run),
    Try("train --config run/config.toml --quiet --out run", 4, "exists already", a_run),
]
