"""Seeded faults: wrong derivatives, orders, offsets and statistics, which `bpttlab verify` has to find."""
