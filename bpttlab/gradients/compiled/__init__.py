"""The loops over time that Numba compiles."""
