"""What an experiment claims of a study, and the verdicts."""
