"""The server and the simulated WhatsApp, with the account alice paired and the phone of Bea beside her."""

import base64
import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ALICE = "491700000001"
BEA = "491700000002"
# A PNG of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def eventually(what, probe, seconds=60):
    """Asks `probe` until it gives something, and gives that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {seconds} s: {what}")


class World:
    def __init__(self, folder: Path):
        self.folder = folder
        self.children = []
        ca = folder / "ca.pem"
        simulator = self.start([os.environ["SIMULATOR"], "--listen", "127.0.0.1:0", "--ca-out", str(ca)], {})
        addresses = json.loads(simulator.stdout.readline())
        self.admin_url = addresses["https"] + "/admin"
        self.tls = ssl.create_default_context(cafile=str(ca))
        self.log = folder / "server.log"
        settings = {
            "WILDCAT_WHATSAPP_URL": addresses["ws"],
            "WILDCAT_WHATSAPP_VERSION": "2.3000.1045649367",
            "WILDCAT_TLS_EXTRA_CA": str(ca),
            "WILDCAT_SERVER_LISTEN": "127.0.0.1:0",
            "WILDCAT_LIMITS_MESSAGES_PER_MINUTE": "6000",
            "WILDCAT_LIMITS_BURST": "6000",
            "WILDCAT_OUTBOX_GAP": "0s",
        }
        self.start([os.environ["WILDCAT"], "--data", str(folder / "data")], settings, log=self.log)
        self.url = eventually("the server listens", self.listening)
        eventually("the server answers", lambda: self.get("/ping"))

    def start(self, command, settings, log=None):
        stderr = log.open("w") if log else (self.folder / "simulator.log").open("w")
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, **settings}
        )
        self.children.append(child)
        return child

    def listening(self):
        """The address in the server's log."""
        for word in self.log.read_text().split():
            word = word.rstrip(".,;/")
            if word.startswith("http://127.0.0.1:") or word.startswith("127.0.0.1:"):
                return word if word.startswith("http") else f"http://{word}"
        return None

    def get(self, path):
        return self.request("GET", self.url + path)

    def post(self, path, body):
        return self.request("POST", self.url + path, body)

    def admin(self, method, path, body=None):
        return self.request(method, self.admin_url + path, body)

    def request(self, method, url, body=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        kind = "text/plain" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls if url.startswith("https") else None) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except OSError:
            return None

    def qr(self, account):
        self.post("/accounts", {"id": account})
        return eventually("a QR code", lambda: self.get(f"/accounts/{account}/status").get("qr"))

    def pair(self, account, number):
        self.admin("POST", f"/mock-phone/scan-qr?number={number}", self.qr(account).encode())
        eventually(
            f"{account} is connected",
            lambda: self.get(f"/accounts/{account}/status")["status"] == "connected",
        )

    def received(self, number, message_id):
        """What a phone has of that id, decrypted."""

        def probe():
            messages = self.admin("GET", f"/phones/{number}/messages")["received"]
            return next((m for m in messages if m["messageId"] == message_id), None)

        return eventually(f"{message_id} at {number}", probe)

    def stop(self):
        for child in reversed(self.children):
            child.kill()
            child.wait()


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    try:
        world.pair("alice", ALICE)
        world.admin("POST", "/phones", {"number": BEA, "name": "Bea"})
        # Waits for its QR code to be scanned, which never happens.
        world.qr("bob")
        (world.folder / "openapi.json").write_text(json.dumps(world.get("/openapi.json")))
        yield world
    finally:
        world.stop()
