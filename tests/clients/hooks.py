"""Requests of schemathesis name the addresses of this machine only: whatever URL it makes up, it is a receiver here."""

import os
from urllib.parse import urlsplit

import schemathesis

RECEIVER = os.environ["RECEIVER"]


def here(url):
    try:
        parts = urlsplit(url)
        return RECEIVER if parts.scheme in ("http", "https") and parts.hostname else url
    except ValueError:
        return url


@schemathesis.hook
def map_body(_context, body):
    if isinstance(body, dict) and isinstance(body.get("url"), str):
        body["url"] = here(body["url"])
    return body
