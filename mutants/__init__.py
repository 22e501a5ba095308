"""Seeded faults: wrong derivatives, orders, offsets and statistics, which `bpttlab verify` or a claim must find."""
