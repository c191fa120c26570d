"""What schemathesis may ask: its requests name addresses of this machine only, whatever URL it makes up."""

import os
import re
from urllib.parse import urlsplit

import schemathesis

RECEIVER = os.environ["RECEIVER"]


def here(url):
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    is_meant = parts.scheme in ("http", "https") and parts.hostname and len(url) <= 2048
    return RECEIVER if is_meant else url


@schemathesis.hook
def map_body(_context, body):
    if isinstance(body, dict) and isinstance(body.get("url"), str):
        body["url"] = here(body["url"])
    return body


@schemathesis.hook
def map_path_parameters(context, parameters):
    # Whatever account it makes up is the one that is there: others are answered 404 throughout.
    if context.operation.path.startswith("/accounts/") and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(parameters.get("id"))):
        parameters["id"] = "alice"
    return parameters


@schemathesis.hook
def filter_query(_context, query):
    # A parameter that is there without a value counts as one that is not there.
    return not any(value == "" for value in (query or {}).values())
