"""Claims of experiments about a study, and their verdicts."""
