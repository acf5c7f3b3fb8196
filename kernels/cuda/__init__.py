"""CUDA kernels: Numba bodies over flat float32 pointers, one module per family, named as the CPU families are.

`launching` says what a kernel is and runs it (on a GPU, in Numba's simulator, or only counted), `building` compiles it
without needing a GPU, `vector` holds 16-byte loads and stores. The scalar formulas come from `formulas` and the
CPU families one folder up, so both targets compute the same.
"""
