"""Measures of a trace: each file has one quantity."""
