"""From a kernel's body to machine code: Numba makes LTO-IR, nvJitLink a cubin, and neither needs a GPU.

So what CI compiles and what a GPU runs come by one path. The driver never compiles: it refuses PTX of a newer toolkit,
but not a cubin of its own major version. nvJitLink is called by its own binding, because cuda.core 1.2 hands `fma` to
it in a form that libnvvm does not take.
"""

import platform
import re
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib import import_module, metadata
from pathlib import Path

import numpy as np

from fastgan.kernels import cache_folder
from fastgan.kernels.compiling import sources
from fastgan.kernels.cuda import gaps, keeping
from fastgan.kernels.cuda.gaps import OLDEST
from fastgan.kernels.cuda.launching import INT, OUT, SIMULATED, Kernel, kernels_of

INSTALL = 'pip install "fastgan[cu13]" (driver 580 or newer) or "fastgan[cu12]"'
LINK_FLAGS = (
    "fma",
    "ftz",
    "prec_div",
    "prec_sqrt",
)  # what a kernel's `options` may set, as nvJitLink names them

_building = threading.RLock()


class CannotBuild(ImportError):  # noqa: N818 (it says what is, as StopIteration does)
    """Kernels cannot be compiled or loaded here; array code runs instead."""


@dataclass(frozen=True)
class Built:
    """A kernel's machine code for one architecture, and what the assembler says of it; sizes in bytes."""

    cubin: bytes
    entry: str
    registers: int
    spills: int
    shared: int
    ptx: str | None = None


def kernels():
    """Every kernel there is, once."""
    names = [file.stem for file in Path(__file__).parent.glob("[!_]*.py") if file.stem != "building"]
    modules = [import_module(f"fastgan.kernels.cuda.{name}") for name in sorted(names)]
    return list(dict.fromkeys(kernel for module in modules for kernel in kernels_of(vars(module))))


def build(kernel, cc, *, ptx=False):
    """Compile a kernel for a compute capability, (8, 0) or (9, 0, "a"); with `ptx`, keep that too. No GPU is needed."""
    options = dict(getattr(kernel, "options", None) or {})
    per_multiprocessor = options.pop("blocks", None)  # that many blocks of it should fit on a multiprocessor
    unknown = set(options) - set(LINK_FLAGS)
    if unknown:
        raise TypeError(
            f"{kernel.name}: got options {sorted(unknown)}, wanted some of blocks, {', '.join(LINK_FLAGS)}"
        )
    bounds = (threads(kernel), per_multiprocessor) if per_multiprocessor else threads(kernel)
    code = _intermediate(kernel, cc, bounds)
    flags = [f"-{name.replace('_', '-')}={int(value)}" for name, value in options.items()]
    cubin, log = _link(code, cc, [*flags, "-Xptxas=-v"])
    return Built(
        cubin,
        re.findall(r"Compiling entry function '(\w+)'", log)[0],
        registers=int(re.findall(r"Used (\d+) registers", log)[0]),
        spills=sum(map(int, re.findall(r"(\d+) bytes spill", log))),
        shared=sum(map(int, re.findall(r"(\d+) bytes smem", log))),
        ptx=_link(code, cc, [*flags, "-ptx"])[0].decode().strip("\0") if ptx else None,
    )


def threads(kernel):
    """Threads of a kernel's block."""
    return int(np.prod(kernel.block))


def _intermediate(kernel, cc, bounds):
    """LTO-IR; the entry is a plain C function of pointers and scalars."""
    with _building, gaps.filled():
        return _library(kernel, bounds).get_ltoir(cc=cc)


@lru_cache(maxsize=1)
def _library(kernel, bounds):
    """LLVM's code, which no architecture is in yet: the slow part, done once where several are built for."""
    from numba.cuda import compiler, types

    each = [getattr(types, a.dtype) for a in kernel.arguments]
    each = [types.CPointer(t) if a.pointer else t for t, a in zip(each, kernel.arguments, strict=True)]
    # what the public cuda.compile calls; it gives no chance to align
    library, _ = compiler._compile_pyfunc_with_fixup(
        kernel.body, types.void(*each), cc=OLDEST, device=False, abi="numba", lto=True, launch_bounds=bounds
    )
    for module in library.modules:
        for variable in module.globals.values():
            if getattr(variable.type, "addrspace", 0) == 3:
                variable.align = 16  # shared arrays: Numba asks for 4, and vector.ld4 needs 16
    return library


def _link(code, cc, options):
    """What nvJitLink makes of LTO-IR, a cubin or PTX, and its log."""
    from cuda.bindings import nvjitlink

    options = [f"-arch={architecture(cc)}", "-lto", *options]
    handle = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, code, len(code), "kernel")
        nvjitlink.complete(handle)
        kind = "ptx" if "-ptx" in options else "cubin"
        made = bytearray(getattr(nvjitlink, f"get_linked_{kind}_size")(handle))
        getattr(nvjitlink, f"get_linked_{kind}")(handle, made)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    return bytes(made), log.decode()


def architecture(cc):
    """nvJitLink's name of a compute capability: sm_90a for (9, 0, "a")."""
    return "sm_" + "".join(map(str, cc))


def load(kernel):
    """CuPy's function of a kernel, for the current device; CannotBuild with a one-line reason where there is none."""
    try:
        import cupy

        built = kept(kernel, _capability(cupy))
        module = cupy.cuda.function.Module()
        module.load(built.cubin)
        _recall_schedules()
        return module.get_function(built.entry)
    except Exception as error:  # Numba, nvJitLink and CuPy each raise many classes of their own
        raise CannotBuild(problem() or f"{kernel.name} does not load: {_line(error)}") from error


@cache
def _recall_schedules():
    """With the first kernel come the tiles that were measured on this GPU (`fastgan doctor --measure`)."""
    from fastgan.kernels.cuda import measuring

    with suppress(Exception):  # a table is a matter of speed only
        measuring.load()


def _capability(cupy):
    """Of the current device; Hopper's own instructions need the "a"."""
    number = cupy.cuda.Device().compute_capability
    cc = int(number[:-1]), int(number[-1])
    return (*cc, "a") if cc == (9, 0) else cc


def kept(kernel, cc):
    """The kernel from the disk, or built now and put there."""
    name = re.sub(r"\W+", "-", kernel.name)
    path = cache_folder() / "cuda" / f"{name}-{keeping.digest(_parts(kernel, cc))}.cubin"
    found = keeping.read(path)
    if found is not None:
        cubin, facts = found
        return Built(cubin, **facts)
    built = build(kernel, cc)
    facts = asdict(built)
    keeping.write(path, facts.pop("cubin"), facts)
    return built


def _parts(kernel, cc):
    """Everything that a kernel's machine code depends on."""
    options = getattr(kernel, "options", None)
    own = keeping.identity(kernel.body), kernel.arguments, kernel.block, options
    return sources("*.py", "cuda/*.py"), _versions(), architecture(cc), *own


@cache
def _versions():
    from cuda.bindings import nvjitlink

    names = ("numba", "numba-cuda", "llvmlite", "cuda-bindings")
    return *map(metadata.version, names), platform.python_version(), nvjitlink.version()


def problem():
    """Why kernels cannot be built for a GPU here, in one line, or None where they can."""
    if SIMULATED:
        return "NUMBA_ENABLE_CUDASIM is set, which replaces Numba's compiler; unset it"
    wheels = cupy_wheels()
    if len(wheels) > 1:
        return f"two CuPy packages are installed: {', '.join(wheels)}; pip uninstall {' '.join(wheels)}; then {INSTALL}"
    return compiler_problem() or linker_problem() or driver_problem()


def cupy_wheels():
    """The names and versions of CuPy's distributions, of which there must not be two."""
    names = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: names[name] for name in sorted(names) if name == "cupy" or name.startswith("cupy-")}


def _trial(out, n):
    out[0] = n


TRIAL = Kernel(_trial, (OUT, INT), block=32, name="trial")


def compiler_problem():
    """Numba's side: numba-cuda and libnvvm."""
    try:
        metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        return f"numba-cuda is not installed; {INSTALL}"
    try:
        _intermediate(TRIAL, OLDEST, 32)
    except Exception as error:
        found = "nvvm" in str(error).lower() or "nvvm" in type(error).__name__.lower()
        what = "libnvvm is not found" if found else f"numba-cuda does not compile ({_line(error)})"
        return f"{what}; {INSTALL}"
    return None


def linker_problem():
    """nvJitLink's side: whether it is there, and as new as libnvvm."""
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
    except Exception as error:
        return f"nvJitLink is not found ({_line(error)}); {INSTALL}"
    try:
        build(TRIAL, OLDEST)
    except Exception as error:
        return (
            f"nvJitLink does not link what libnvvm makes ({_line(error)}): are they of one version? {INSTALL}"
        )
    return None


def driver_problem():
    """The driver's side: it loads what a toolkit of its own major version makes, or of an older one."""
    driver = driver_version()
    if driver is None:
        return None
    from cuda.bindings import nvjitlink

    major, minor = nvjitlink.version()
    if driver[0] >= major:
        return None
    return (
        f"the driver is for CUDA {driver[0]}.{driver[1]}, the toolkit is {major}.{minor}; "
        f'install a newer driver, or pip install "fastgan[cu{driver[0]}]"'
    )


def driver_version():
    """The CUDA version of the installed driver, (12, 4) say; None without a driver."""
    import ctypes

    version = ctypes.c_int()
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        failed = library.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed or not version.value else (version.value // 1000, version.value % 1000 // 10)


def _line(error):
    """An error's first line, or its class where it has no words."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
