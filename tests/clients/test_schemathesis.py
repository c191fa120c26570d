"""schemathesis reads the document and asks what it allows, and what it does not: never a 5xx, never an answer that the
document does not describe, never a request taken that it forbids."""

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent


class Receiver(BaseHTTPRequestHandler):
    """A webhook's receiver, and a server of files, that takes everything."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def test_schemathesis_finds_nothing(world):
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "RECEIVER": f"http://127.0.0.1:{receiver.server_port}/file",
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
    }
    command = ["schemathesis", "--config-file", str(HERE / "schemathesis.toml"), "run", "openapi.json"]
    done = subprocess.run(
        [*command, "--url", world.url, "--no-color"],
        cwd=world.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    receiver.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.get("/health")["eventThread"]["healthy"]
    # None of its requests has made a task panic.
    assert world.get("/health")["tasks"]["panics"] == 0
