"""A pytest plugin: nbval runs the notebooks, and everything that they show is compared.

nbval by itself leaves figures and widgets alone and compares outputs kind by kind. With this plugin
a cell's outputs must be the committed ones in kind, order and text, figures block by block (see
`tools.check`), and the last cell answers for the state of the notebook's widgets. What `make run`
has executed is not executed again as long as nothing that it depends on has changed.
"""

import base64
import copy
import re
from typing import Any

from nbval import plugin

from tools import check, notebooks

STATE = "application/vnd.jupyter.widget-state+json"


class Widgets:
    """The widgets' state as the kernel's messages tell it; an output widget keeps what it shows."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self.buffers: dict[str, dict[tuple[str, ...], Any]] = {}  # pictures, for one

    def takes(self, message: dict[str, Any]) -> bool:
        """Note a message; whether it is output that a widget shows, and not the cell."""
        kind, content = message["msg_type"], message["content"]
        if kind.startswith("comm"):
            state = self.states.setdefault(content["comm_id"], {})
            state.update(content["data"].get("state", {}))
            paths = content["data"].get("buffer_paths", [])
            for path, buffer in zip(paths, message.get("buffers", []), strict=True):
                self.buffers.setdefault(content["comm_id"], {})[tuple(path)] = {
                    "data": base64.b64encode(buffer).decode(),
                    "encoding": "base64",
                    "path": path,
                }
            return False
        showing = [state for state in self.states.values() if state.get("msg_id")]
        if kind not in ("stream", "display_data", "execute_result") or not showing:
            return False
        content.pop("transient", None)
        showing[0]["outputs"] = [*showing[0].get("outputs", ()), {"output_type": kind, **content}]
        return True

    def metadata(self) -> dict[str, Any]:
        """What a notebook's file keeps of them."""
        fields = {"module": "_model_module", "module_version": "_model_module_version"}
        fields["name"] = "_model_name"
        states = {
            id: {f"model_{field}": state[key] for field, key in fields.items()} | {"state": state}
            for id, state in self.states.items()
        }
        for id, found in self.buffers.items():
            states[id]["buffers"] = list(found.values())
        head = {"version_major": 2, "version_minor": 0}
        return {STATE: {"state": states, **head}} if states else {}


start, receive = plugin.IPyNbFile.setup, plugin.IPyNbFile.get_kernel_message
execute = plugin.IPyNbCell.runtest


def setup(self: plugin.IPyNbFile) -> None:
    """Take the copy that was just executed, or start the kernel, with nothing shown yet."""
    self.copy = notebooks.just_executed(self.path)
    if self.copy is None:
        start(self)
    self.fresh, self.widgets = copy.deepcopy(self.nb), Widgets()


def runtest(self: plugin.IPyNbCell) -> None:
    """Execute the cell and compare; if the notebook was just executed, compare alone."""
    if self.parent.copy is None:
        return execute(self)
    (outputs,) = (cell.outputs for cell in self.parent.copy.cells if cell.id == self.cell.id)
    if not self.compare_outputs(outputs, self.cell.outputs):
        self.raise_cell_error("Cell outputs differ", "\n".join(self.comparison_traceback))


def get_kernel_message(self: plugin.IPyNbFile, *given: Any, **named: Any) -> Any:
    """The next message that is not a widget's."""
    while self.widgets.takes(message := receive(self, *given, **named)):
        pass
    return message


def compare_outputs(self: plugin.IPyNbCell, test: Any, ref: Any, skip_compare: Any = None) -> bool:
    """Whether the outputs are the committed ones; if not, where they part is reported."""
    code = [cell for cell in self.parent.nb.cells if cell.cell_type == "code"]
    found = list(check.unlike(*(as_stored(outputs) for outputs in (ref, test))))
    (again,) = (cell for cell in self.parent.fresh.cells if cell.id == self.cell.id)
    again.outputs = test
    if self.cell is code[-1]:
        ran = self.parent.copy
        widgets = ran.metadata.get("widgets", {}) if ran else self.parent.widgets.metadata()
        self.parent.fresh.metadata["widgets"] = widgets
        both = (notebooks.normalised(nb) for nb in (self.parent.nb, self.parent.fresh))
        found += check.widget_differences(*both)
    self.comparison_traceback = [f"{self.cell.id}: {text}" for text in found]
    return not found


def as_stored(value: Any) -> Any:
    """Outputs with the text that a file has for a widget, and whose random ids are all the same.

    The alternative text of a figure is the file's own.
    """
    if isinstance(value, dict):
        text = {"text/plain": notebooks.WIDGET_TEXT} if notebooks.WIDGET in value else {}
        return {key: as_stored(part) for key, part in (value | text).items() if key != "alt"}
    if isinstance(value, list):
        return [as_stored(part) for part in value]
    return re.sub(r"^[0-9a-f]{32}$", "id", value) if isinstance(value, str) else value


plugin.IPyNbFile.setup = setup
plugin.IPyNbCell.runtest = runtest
plugin.IPyNbFile.get_kernel_message = get_kernel_message
plugin.IPyNbCell.compare_outputs = compare_outputs
