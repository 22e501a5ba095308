"""Every way to a gradient: forward, backward, forward mode, compiled loops."""
