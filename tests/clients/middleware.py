"""A small WSGI application behind keystonemiddleware, as OpenStack's own services are.

    python middleware.py OPTIONS      OPTIONS: JSON object with options of [keystone_authtoken]

Prints its port. Every path answers with the headers that the middleware has set, as a JSON object.
"""

import json
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from keystonemiddleware import auth_token


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def application(environ, start_response):
    seen = {k[5:].replace("_", "-"): v for k, v in environ.items() if k.startswith("HTTP_X_")}
    for secret in ("X-AUTH-TOKEN", "X-SERVICE-TOKEN"):
        seen.pop(secret, None)
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def main():
    guarded = auth_token.filter_factory({}, **json.loads(sys.argv[1]))(application)
    server = make_server("127.0.0.1", 0, guarded, handler_class=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


main()
