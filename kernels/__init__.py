"""Kernels: another way to run array code that exists. Raw arrays in, raw arrays out; imports only Numba and NumPy.

One module per family, named by what it computes (dense, noise, update). A family keeps its scalar formulas and the CPU
loops over them in one file, because Numba's disk cache looks at the age of that file alone. The loops are serial and
release the GIL: OpenBLAS owns the threads (two pools that spin against each other cost more than both bring).
`fastgan/fused.py` is the one table that joins kernels to the array code they replace.
"""
