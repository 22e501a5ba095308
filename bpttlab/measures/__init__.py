"""What is measured of a trace: one file, one quantity."""
