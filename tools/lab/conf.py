"""JupyterLab as `make lab` opens it: jupyter lab --config=tools/lab/conf.py

The README is its first page. It knows nothing of grading (teachers use nbgrader's commands), asks
nobody for news, and keeps its open tabs in build/, apart from those of other projects. The
settings beside this file are defaults: a reader's own prevail.
"""

import platform
from pathlib import Path

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

c = get_config()  # noqa: F821 (JupyterLab provides it)
here = Path(__file__).resolve().parent
root = here.parent.parent


class Contents(AsyncLargeFileManager):
    """Completes a notebook with the version of Python, or JupyterLab would, and call it modified.

    The file goes without: it is the same for every reader.
    """

    async def get(self, path, content=True, *args, **options):
        model = await super().get(path, content, *args, **options)
        if content and model["type"] == "notebook":
            language = model["content"]["metadata"].setdefault("language_info", {})
            language["version"] = platform.python_version()
        return model

    async def save(self, model, path=""):
        if model.get("type") == "notebook" and "content" in model:
            model["content"]["metadata"].get("language_info", {}).pop("version", None)
        return await super().save(model, path)


c.ServerApp.root_dir = str(root)
c.ServerApp.contents_manager_class = Contents
c.ServerApp.jpserver_extensions = {
    f"nbgrader.server_extensions.{name}": False
    for name in ("assignment_list", "course_list", "formgrader", "validate_assignment")
}
c.LabApp.default_url = "/lab/tree/README.md"
c.LabApp.app_settings_dir = str(here)
c.LabApp.workspaces_dir = str(root / "build" / "lab")
