"""The command as it runs on a system that lacks what POSIX has; started as a program with the words of the command.

Libraries are imported first: their own wheels for Windows do not need what is taken away.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import sysconfig

LIBRARIES = (
    *("multiprocessing.forkserver", "hydra", "matplotlib.pyplot", "pandas", "pydantic", "pyarrow.parquet"),
    *("numba", "scipy.linalg", "scipy.optimize", "scipy.special", "scipy.stats", "seaborn", "tabulate"),
    *("threadpoolctl", "tqdm"),
)
MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
OF_OS = (
    *("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fork", "forkpty", "getuid", "geteuid", "getpgid", "killpg", "mkfifo"),
    *("register_at_fork", "sched_getaffinity", "setsid", "statvfs", "sysconf", "uname", "WNOHANG"),
)
OF_SIGNAL = ("SIGKILL", "SIGHUP", "SIGUSR1", "pthread_sigmask", "sigwait", "alarm")


def become_windows():
    """Takes away what Windows does not have."""
    for name in LIBRARIES:
        importlib.import_module(name)
    sysconfig.get_config_vars()  # of this Python, which it keeps
    controller = sys.modules["threadpoolctl"].ThreadpoolController
    controller._find_libraries_with_enum_process_module_ex = lambda self: None  # asks a DLL that Windows has
    for name in MODULES:
        sys.modules[name] = None
    for module, names in ((os, OF_OS), (signal, OF_SIGNAL)):
        for name in names:
            vars(module).pop(name, None)
    multiprocessing.get_all_start_methods = lambda: ["spawn"]
    opened = os.open

    def refuse_folders(path, *arguments, **named):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *arguments, **named)

    os.open = refuse_folders
    sys.platform = "win32"


if __name__ == "__main__":
    become_windows()
    from bpttlab.cli import main

    lines = " ".join(sys.argv[1:]).split(" ; ")
    sys.exit(max(main(line.split()) for line in lines))
