"""Runs microburst, the faulty S3 proxy, as a plain relay that keeps what S3 clients depend on.

Of its own it drops Content-Length, without which a HEAD says nothing, and spells Host and escapes in the path anew, which the
client's signature covers. So a request passes through here as it was signed, and an answer as it was given. The draws of its
rules come from MICROBURST_SEED."""

import os
import random

import aiohttp
from microburst import forward
from microburst.cli import main
from yarl import URL

KEPT = {"host", "content-length"}
ADDED_BY_CLIENT = {"Accept", "Accept-Encoding", "Content-Type", "User-Agent"}


def outbound_headers(self, request):
    dropped = forward.HOP_BY_HOP
    return {key.lower(): value for key, value in request.headers.items() if key.lower() not in dropped}


def request_as_it_was(self, method, url, **options):
    return plain_request(self, method, URL(url, encoded=True), skip_auto_headers=ADDED_BY_CLIENT, **options)


forward.HOP_BY_HOP = frozenset(forward.HOP_BY_HOP - KEPT)
forward.Upstream._outbound_headers = outbound_headers
plain_request = aiohttp.ClientSession.request
aiohttp.ClientSession.request = request_as_it_was
random.seed(os.environ.get("MICROBURST_SEED"))
raise SystemExit(main())
