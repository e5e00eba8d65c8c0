"""A real mail server of one test: aiosmtpd, which writes what it takes to a file, a line of JSON each.

It ends when its standard input does."""

import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

mode, port, cert, key, out, user, password = sys.argv[1:]


class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused@"):
            return "550 canary: no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        login = session.auth_data
        letter = {
            "tls": session.ssl is not None or mode == "implicit",
            "user": login.login.decode() if isinstance(login, LoginPassword) else None,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode("ascii"),
        }
        with open(out, "a", encoding="utf-8") as file:
            file.write(json.dumps(letter) + "\n")
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.login.decode() == user and data.password.decode() == password
    return AuthResult(success=good, handled=good, auth_data=data)


tls = None
if mode != "plain":
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
options = {"hostname": "127.0.0.1", "port": int(port)}
if user:
    options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": mode == "starttls"}
if mode == "starttls":
    options |= {"tls_context": tls, "require_starttls": True}
if mode == "implicit":
    options |= {"ssl_context": tls}
controller = Controller(Keep(), **options)
controller.start()
print("ready", flush=True)
sys.stdin.read()
controller.stop()
