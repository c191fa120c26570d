"""Each generator makes a client; the client sends a text and a file, reads them back, and fetches a QR code."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import BEA, PIXEL

HERE = Path(__file__).parent
PNG = b"\x89PNG\r\n\x1a\n"


def generate(world, name, command):
    """Runs a generator; gives the folder that it made, on Python's path."""
    out = world.folder / name
    done = subprocess.run(
        [*command, str(out)], cwd=world.folder, capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    sys.path.insert(0, str(out))
    return said


def test_openapi_python_client(world):
    said = generate(
        world,
        "openapi-python-client",
        ["openapi-python-client", "generate", "--fail-on-warning", "--path", "openapi.json", "--output-path"],
    )
    assert "omitted" not in said and "Cannot parse" not in said, said

    from wildcat_client import Client
    from wildcat_client.api.messages import list_messages
    from wildcat_client.api.pairing import get_qr
    from wildcat_client.api.sending import send_image, send_text
    from wildcat_client.models import GetQrFormat, SendImageFilesBody, SendTextJsonBody
    from wildcat_client.types import File

    with Client(base_url=world.url) as client:
        text = send_text.sync("alice", client=client, body=SendTextJsonBody(to=BEA, message="by a generated client"))
        assert world.received(BEA, text.message_id)["text"] == "by a generated client"

        picture = File(payload=PIXEL, file_name="pixel.png", mime_type="image/png")
        body = SendImageFilesBody(to=BEA, image=picture, caption="one pixel")
        sent = send_image.sync("alice", client=client, body=body)
        got = world.received(BEA, sent.message_id)
        assert got["type"] == "image" and got["text"] == "one pixel", got

        page = list_messages.sync(client=client, account_id="alice", limit=5)
        assert sent.message_id in [message.message_id for message in page.messages]

        code = get_qr.sync_detailed("bob", client=client, format_=GetQrFormat.PNG)
        assert code.status_code == 200 and code.content.startswith(PNG)
        code = get_qr.sync("bob", client=client, format_=GetQrFormat.RAW)
        assert isinstance(code, str) and code.count(",") >= 3, code


def test_openapi_generator(world):
    generate(
        world, "openapi-generator", ["openapi-generator-cli", "generate", "-i", "openapi.json", "-g", "python", "-o"]
    )

    import openapi_client

    with openapi_client.ApiClient(openapi_client.Configuration(host=world.url)) as client:
        sending, pairing = openapi_client.SendingApi(client), openapi_client.PairingApi(client)
        text = sending.send_text("alice", openapi_client.SendTextRequest(to=BEA, message="by another one"))
        assert world.received(BEA, text.message_id)["text"] == "by another one"

        # Of two kinds of body this generator's clients take JSON unless they are told otherwise.
        form = {"_content_type": "multipart/form-data"}
        sent = sending.send_image("alice", to=BEA, image=("pixel.png", PIXEL), caption="the same pixel", **form)
        got = world.received(BEA, sent.message_id)
        assert got["type"] == "image" and got["text"] == "the same pixel", got

        page = openapi_client.MessagesApi(client).list_messages(account_id="alice", limit=5)
        assert sent.message_id in [message.message_id for message in page.messages]

        assert bytes(pairing.get_qr("bob", format="png")).startswith(PNG)


def test_openapi_typescript(world):
    node = Path(os.environ["CLIENTS"]) / "node"
    bin = node / "node_modules" / ".bin"
    out = node / "build"
    out.mkdir(exist_ok=True)
    client = out / "client.ts"
    client.write_text((HERE / "client.ts").read_text())
    for command in (
        [bin / "openapi-typescript", world.folder / "openapi.json", "--output", out / "api.ts"],
        # Without the check of types, a client that nothing can be called with would pass.
        [bin / "tsc", "--strict", "--noEmitOnError", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", client],
    ):
        done = subprocess.run(command, cwd=out, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        ["node", out / "client.js", world.url, BEA], cwd=out, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.received(BEA, done.stdout.strip())["type"] == "image"
