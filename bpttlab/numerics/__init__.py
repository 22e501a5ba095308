"""Numbers and arrays: mantissas with exponents, matrices, sums, random streams, intervals of medians."""
