"""How Hydra hands a sweep to bpttlab: a sweeper that composes seldom, a launcher that measures in one place.

`hydra_plugins` itself has no __init__.py: it is shared by all of Hydra's plugins. Hydra executes each of these modules
a second time when it looks for plugins, so none may hold state.
"""
