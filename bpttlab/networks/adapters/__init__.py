"""Networks of PyTorch and JAX as cells. Neither library is imported before one of its networks is given."""
