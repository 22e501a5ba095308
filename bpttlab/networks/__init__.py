"""What is differentiated: activations, losses, initializers, cells, weights from files."""
