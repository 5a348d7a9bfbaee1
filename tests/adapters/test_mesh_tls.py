"""Only the one CA file is trusted, whatever the environment says, and the client certificate is presented."""

import http.server
import json
import ssl
import threading
from contextlib import closing

import pytest
from cryptography.hazmat.primitives import serialization

from mesh_itk3.adapters.mesh_mailbox import MeshMailbox
from mesh_itk3.ports import CertificateUnusable, CredentialsRejected, MailboxUnavailable, Outgoing, SendUnresolved
from support.authority import an_authority, key_pem, pem
from support.sandbox import PRACTICE, connection


class TlsMesh:
    """A TLS server on 127.0.0.1 that answers every call like an empty mailbox and notes who asked."""

    def __init__(self, certificate, clients=None):
        self.clients = []
        self.paths = []
        mesh = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                mesh.paths.append(self.path)
                mesh.clients.append(self.connection.getpeercert())
                body = json.dumps({"messages": [], "links": {}}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/vnd.mesh.v2+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *args):
                return

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None
        # The handshake belongs to the connection's own thread: a client that refuses must not stop the server.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    directory = tmp_path_factory.mktemp("authorities")
    return an_authority(directory, "right"), an_authority(directory, "wrong")


@pytest.fixture
def serve():
    servers = []

    def start(*args, **kwargs):
        servers.append(TlsMesh(*args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def a_mailbox(server, ca, **changes):
    return MeshMailbox(connection(server.url, PRACTICE, ca_file=ca, timeout_s=30.0, **changes))


def test_the_right_authority_is_trusted(authorities, serve):
    right, _ = authorities
    server = serve(right.issue("mesh"))

    with closing(a_mailbox(server, right.file)) as practice:
        assert list(practice.pages()) == [()]
        assert list(practice.pages()) == [()]


@pytest.mark.parametrize("variable", [None, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_another_authority_is_refused_although_the_environment_trusts_it(authorities, serve, monkeypatch, variable):
    right, wrong = authorities
    server = serve(right.issue("mesh"))
    if variable:
        monkeypatch.setenv(variable, str(right.file))

    with closing(a_mailbox(server, wrong.file)) as practice:
        with pytest.raises(MailboxUnavailable, match="tls"):
            practice.handshake()
        with pytest.raises(SendUnresolved, match="tls"):
            practice.send(Outgoing(PRACTICE, "W", "L-1", b"x"))

    assert server.paths == []


def test_a_certificate_for_another_host_is_refused(authorities, serve):
    right, _ = authorities
    server = serve(right.issue("mesh", host="127.0.0.2"))

    with closing(a_mailbox(server, right.file)) as practice, pytest.raises(MailboxUnavailable, match="tls"):
        practice.handshake()


def test_exactly_one_authority_is_trusted(authorities, serve):
    right, _ = authorities
    server = serve(right.issue("mesh"))

    with closing(a_mailbox(server, right.file)) as practice:
        practice.handshake()
        with practice._session.client() as client:
            adapter = client._session.get_adapter(f"{server.url}/")
        trusted = adapter.poolmanager.connection_pool_kw["ssl_context"].get_ca_certs()

    assert [dict(part[0] for part in ca["subject"])["commonName"] for ca in trusted] == ["right"]


def test_the_client_certificate_is_presented(authorities, serve):
    right, _ = authorities
    server = serve(right.issue("mesh"), clients=right.file)

    with closing(a_mailbox(server, right.file, client_certificate=right.issue("X26ABC2.api.mesh"))) as practice:
        practice.handshake()

    subject = dict(part[0] for part in server.clients[0]["subject"])
    assert subject["commonName"] == "X26ABC2.api.mesh"


def test_a_missing_client_certificate_is_unavailable_or_rejected(authorities, serve):
    right, _ = authorities
    server = serve(right.issue("mesh"), clients=right.file)

    with closing(a_mailbox(server, right.file)) as practice, pytest.raises((MailboxUnavailable, CredentialsRejected)):
        practice.handshake()


@pytest.mark.parametrize("whose", ["server", "client"])
def test_a_certificate_that_is_past_is_unavailable_for_whatever_is_asked(authorities, serve, whose):
    right, _ = authorities
    server = serve(right.issue("mesh", is_past=whose == "server"), clients=right.file)
    certificate = right.issue("X26ABC2.api.mesh", is_past=whose == "client")

    with closing(a_mailbox(server, right.file, client_certificate=certificate, first_pause_s=0.0)) as practice:
        for call in (
            practice.handshake,
            lambda: list(practice.pages()),
            lambda: practice.open("M"),
            lambda: practice.acknowledge("M"),
            lambda: practice.find_sent("L"),
            lambda: practice.track("M"),
        ):
            with pytest.raises(MailboxUnavailable, match=r"tls|connection"):
                call()
        with pytest.raises(SendUnresolved, match=r"tls|connection"):
            practice.send(Outgoing(PRACTICE, "W", "L-1", b"x"))

    assert server.paths == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content", ["missing", "junk", "encrypted key"])
def test_a_certificate_that_cannot_be_used_is_for_an_operator(authorities, serve, tmp_path, content):
    right, _ = authorities
    server, certificate = serve(right.issue("mesh")), tmp_path / "client.pem"
    if content == "junk":
        certificate.write_text("not a certificate")
    if content == "encrypted key":
        certificate.write_bytes(pem(right.certificate) + key_pem(right.key, serialization.BestAvailableEncryption(b"secret")))

    with closing(a_mailbox(server, right.file, client_certificate=certificate)) as practice:
        with pytest.raises(CertificateUnusable) as unusable:
            practice.handshake()
        with pytest.raises(CertificateUnusable):
            practice.send(Outgoing(PRACTICE, "W", "L-1", b"x"))

    assert unusable.value.reason == "certificate_unusable"
    assert server.paths == []


def test_proxies_and_netrc_of_the_environment_are_ignored(authorities, serve, monkeypatch, tmp_path):
    right, _ = authorities
    server = serve(right.issue("mesh"))
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    with closing(a_mailbox(server, right.file)) as practice:
        practice.handshake()

    assert server.paths == [f"/messageexchange/{PRACTICE}"]
