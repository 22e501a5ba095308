"""Faults that are injected into sweeps, stores and command lines: each promise of the README against its own fault."""
