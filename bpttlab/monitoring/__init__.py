"""Networks measured inside a training loop of somebody else's."""
