"""`fastgan export`: a run's generator for those who have NumPy and nothing else."""

from pathlib import Path

import click

from fastgan.gan import load
from fastgan.gan.export import export as write


@click.command(short_help="Write an .npz and a script that draws with NumPy alone.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="A new folder.  [RUN-export]")
def export(run: Path, out: Path | None) -> None:
    """Write the generator of RUN, a run directory or a checkpoint, to a new folder, with a script that draws with it.

    `python sample.py 42` there makes the picture of `fastgan sample RUN --seed 42`, to within one grey level, and
    needs no fastgan.
    """
    trainer = load(run, device="cpu")
    run = run if run.name else run.resolve()  # "." has none
    folder = out or run.with_name(run.name.removesuffix(".safetensors") + "-export")
    write(trainer, folder)
    print(f"{folder}  generator.npz and sample.py; try: python {folder / 'sample.py'} 42")
