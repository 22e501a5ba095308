"""`python -m benchmarks`: no forced kernels and one thread everywhere, then the suite."""

import os
import sys

from benchmarks import environment
from bpttlab.sweeps import blas_threads

environment.begin_clean(sys.argv[1:])
environment.bind_to_one_processor()
blas_threads.pin()  # before anything imports NumPy
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from benchmarks.suite import main

sys.exit(main())
