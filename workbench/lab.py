"""JupyterLab for the project: its kernels are warm, its sources and sample data at hand."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from traitlets.config import Config

from workbench.errors import WorkbenchError
from workbench.running import kernels
from workbench.settings import cache_folder, config_path, load_settings, project_folder

# In a process of its own, which neither takes JupyterLab's time nor its memory, and which keeps
# the server for as long as somebody holds the other end of its input.
SAMPLES = "import sys; from workbench import embedded; embedded.connection_url(); sys.stdin.read()"

OURS = Path(__file__).with_name("jupyter")  # settings and style of JupyterLab


class WarmKernelSpecs(KernelSpecManager):
    """Starts our kernel wherever a notebook names the ordinary one of this Python.

    The notebook keeps that name, by which papermill and others find a kernel anywhere.
    """

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return how to start a kernel; what people see of it is as ever."""
        asked = super().get_kernel_spec(kernel_name)
        warm = super().get_kernel_spec(kernels.kernel_name(kernel_name))
        asked.argv, asked.metadata = warm.argv, warm.metadata
        return asked


def serve(options: Sequence[str]) -> None:
    """Serve JupyterLab in the project's folder until it is told to end.

    `options` are JupyterLab's own; they go over its configuration files, which go over what is set
    here. Raises SettingsError for an unusable workbench.toml, WorkbenchError where JupyterLab is
    missing.
    """
    settings = load_settings()
    _settle(settings.reports)
    if importlib.util.find_spec("jupyterlab") is None:
        raise WorkbenchError(
            "JupyterLab is not installed in this environment.",
            "`make demo` or scripts/setup.sh makes one that has it.",
        )
    # Other processes import what kernels need, and start the samples, while this one imports its.
    kernels.warm_as_set(None)
    with _samples(any(source.kind == "embedded" for source in settings.sources.values())):
        from jupyter_core.application import NoStart
        from jupyter_core.paths import jupyter_config_dir
        from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

        # Nothing is asked of the network, nor of who opens it first: settings that are changed
        # in the menu as ever.
        paths = os.environ.get("JUPYTER_CONFIG_PATH"), str(OURS)
        os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))
        styles = [f"{jupyter_config_dir()}/custom", f"{OURS}/custom"]  # the first that is there
        config = _configuration(project_folder(), settings.notebooks)
        with suppress(NoStart):
            LabApp.initialize_server(
                argv=[*options], config=config, static_custom_path=styles
            ).start()


def _settle(reports: Path) -> None:
    """Make the environment's places absolute: each kernel runs in the folder of its notebook."""
    places = {
        "WORKBENCH_CONFIG": (config_path() or Path()).absolute(),  # a link's own folder counts
        "WORKBENCH_CACHE": cache_folder(),
        "WORKBENCH_REPORTS": project_folder() / reports,
    }
    os.environ.update({name: str(it) for name, it in places.items() if os.environ.get(name)})


def _configuration(project: Path, notebooks: Path) -> Config:
    inside = project / notebooks
    shown = inside.is_dir() and inside.is_relative_to(project)
    place = f"/tree/{quote(inside.relative_to(project).as_posix())}" if shown else ""
    server = {
        "ip": "127.0.0.1",
        "root_dir": str(project),
        "answer_yes": True,  # one Ctrl-C ends it
        "kernel_spec_manager_class": WarmKernelSpecs,
    }
    return Config({
        "ServerApp": server, "LabApp": {"default_url": f"/lab{place}", "custom_css": True}
    })  # fmt: skip


@contextmanager
def _samples(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    # What goes wrong there is told to whoever connects.
    command = [sys.executable, "-P", "-c", SAMPLES]
    started = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        started.terminate()
        started.communicate()
