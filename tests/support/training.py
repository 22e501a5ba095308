"""Trainings that are stopped and go on."""

from bpttlab.training import Ongoing, Trained, checkpoints, iterate_updates


def restore_at(whole: Trained, cell, params, update: int) -> Ongoing:
    """A training of the same setup after so many updates, packed as a checkpoint and restored from it."""
    first = whole.setup.first_state(whole.setup.layout.of(cell, params)[1])
    known = Ongoing(first, first)
    for step in iterate_updates(whole.setup, known):
        if step.state.update == update:
            break
    return checkpoints.unpack_run(checkpoints.pack_arrays(checkpoints.arrays_of(known, {})))[1]
