"""A real browser for tests: Chromium without a window, spoken to over its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
FLAGS += ["--disable-background-networking", "--no-first-run", "--remote-allow-origins=*"]
CODES = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowUp": 38}
CODES |= {"ArrowRight": 39, "ArrowDown": 40}


def program() -> str | None:
    """Where Chromium is installed, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, JavaScript as such on every platform, nothing printed."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder are served while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Page:
    """One tab: `open` an address, `evaluate` JavaScript in it, press keys, see what it asked for.

    Attributes
    ----------
    requests : addresses asked for since the page was opened, by its workers too.
    errors : exceptions, errors of the console and files not found since then.
    """

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.socket, self.number = socket, 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True
        )

    def _send(self, method: str, params: dict[str, Any], worker: str | None = None) -> int:
        """Send a command, to a worker of the page if one is named; its number."""
        self.number += 1
        target = {"sessionId": worker} if worker else {}
        command = {"id": self.number, "method": method, "params": params} | target
        self.socket.send(json.dumps(command))
        return self.number

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; what happens meanwhile is noted."""
        number = self._send(method, params)
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Target.attachedToTarget":  # it waits until its requests can be heard
            for command in ("Network.enable", "Runtime.enable", "Runtime.runIfWaitingForDebugger"):
                self._send(command, {}, params["sessionId"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(str([arg.get("value") for arg in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])

    def open(self, address: str) -> None:
        """Load an address afresh and forget what was noted before."""
        self.call("Page.navigate", url="about:blank")
        self.requests, self.errors = [], []
        if reason := self.call("Page.navigate", url=address).get("errorText"):
            raise RuntimeError(f"{address}: {reason}")
        self.wait("document.readyState === 'complete' && location.protocol === 'http:'")

    def evaluate(self, source: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        done = self.call(
            "Runtime.evaluate", expression=source, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return done["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Until a condition holds; TimeoutError if it does not in time."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(condition)
            time.sleep(0.05)

    def press(self, key: str, *, shift: bool = False, control: bool = False) -> None:
        """One key, pressed and released where the focus is."""
        code, held = CODES.get(key, 0), 8 * shift + 2 * control
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": held}
        text = {"text": "\r" if key == "Enter" else " "} if key in (" ", "Enter") else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def drag(self, start: tuple[float, float], end: tuple[float, float], *, touch: bool) -> None:
        """A finger or the mouse, pressed at one place of the window and lifted at another."""
        if touch:
            for kind, places in (("Start", [start]), ("Move", [end]), ("End", [])):
                points = [{"x": x, "y": y} for x, y in places]
                self.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)
            return
        for kind, (x, y) in (("Pressed", start), ("Moved", end), ("Released", end)):
            self.call(
                "Input.dispatchMouseEvent",
                type=f"mouse{kind}", x=x, y=y, button="left", buttons=1, clickCount=1,
            )  # fmt: skip

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """The size of the window in CSS pixels; a phone scrolls by touch."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
            screenWidth=width, screenHeight=height,
        )  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefers(self, **features: str) -> None:
        """What a person prefers: `color_scheme`, `reduced_motion`."""
        wished = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in features.items()
        ]
        self.call("Emulation.setEmulatedMedia", features=wished)

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        shot = self.call(
            "Page.captureScreenshot", captureBeyondViewport=True, optimizeForSpeed=True
        )
        return base64.b64decode(shot["data"])


@contextmanager
def opened() -> Iterator[Page]:
    """A tab of a fresh Chromium, which ends with the block."""
    found = program()
    assert found is not None, "no Chromium"
    with ExitStack() as stack:
        profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        port = Path(stack.enter_context(profile)) / "DevToolsActivePort"
        command = [found, *FLAGS, f"--user-data-dir={port.parent}", "about:blank"]
        silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        stack.callback(_end, subprocess.Popen(command, **silent))
        socket = websocket.create_connection(
            _soon(lambda: _tab(port)),
            timeout=120,
            skip_utf8_validation=True,  # slow in Python
        )
        stack.callback(socket.close)
        yield Page(socket)


def _tab(port: Path) -> str:
    """The address of the first tab of the browser that wrote its port into a file."""
    with urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json", timeout=10) as answer:
        tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
    return str(tabs[0]["webSocketDebuggerUrl"])


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _soon(look: Callable[[], str], seconds: float = 60) -> str:
    """What `look` finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while True:
        try:
            return look()
        except (OSError, IndexError):
            if time.monotonic() > until:
                raise
        time.sleep(0.1)
