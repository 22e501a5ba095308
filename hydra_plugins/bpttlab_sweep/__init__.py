"""Sweeps for a `hydra.main` script of your own: it receives all runs of a sweep at once.

    import hydra
    from bpttlab import resources
    from bpttlab.sweeps.plan import plan, separate
    from bpttlab.sweeps.scheduler import carry_out

    @hydra.main(version_base="1.3", config_path=str(resources.conf()), config_name="config")
    def main(runs):
        options, configurations = separate(runs)
        carry_out(plan(configurations, options), options)

The function receives the runs as a list of plain dictionaries. The command `bpttlab sweep` composes and computes by
itself: it needs these plugins only as names in conf/config.yaml. It makes nothing from a configuration. Hydra does, in
a script with `hydra.main`: callbacks and handlers of logging are made before the sweeper sees them. Give such a script
only configuration files that you trust.

`hydra_plugins` itself has no __init__.py: it is shared by all of Hydra's plugins. Hydra executes each of these modules
a second time when it looks for plugins, so none may hold state.
"""
