# SPDX-License-Identifier: Apache-2.0
"""kube.py - API servers for the net tests, and a node that stands on one.

Api is the real thing: etcd and kube-apiserver of the binary that $HK names (or
build/k8s/hk).  Scripted answers what a test tells it to, over real TLS: for
what a real API server would never say.
"""
import base64
import http.client
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

from stage import BUILD, FAR4, Node, Skip, run, wait_for

HK = next((p for p in (os.environ.get("HK"), f"{BUILD}/k8s/hk",
                       "/tmp/stile-k8s/bin/hk") if p and os.access(p, os.X_OK)),
          None)


def openssl(*argv):
    run("openssl", *argv)


class Pki:
    """A certificate authority, and certificates of it."""

    def __init__(self, path, name="ca"):
        os.makedirs(path, exist_ok=True)
        self.path, self.ca, self.ca_key = path, f"{path}/{name}.crt", f"{path}/{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                self.ca_key, "-out", self.ca, "-subj", f"/CN={name}", "-days",
                "30", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def leaf(self, name, san, days="30"):
        """(certificate, key), for a server."""
        base = f"{self.path}/{name}"
        with open(f"{base}.ext", "w") as f:
            f.write(f"subjectAltName={san}\nextendedKeyUsage=serverAuth\n")
        openssl("req", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                f"{base}.key", "-out", f"{base}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.ca, "-CAkey",
                self.ca_key, "-CAcreateserial", "-days", days, "-extfile",
                f"{base}.ext", "-out", f"{base}.crt")
        return f"{base}.crt", f"{base}.key"


def kubeconfig(path, server, ca, **user):
    with open(path, "w") as f:
        json.dump({"apiVersion": "v1", "kind": "Config",
                   "clusters": [{"name": "c", "cluster": {
                       "server": server, "certificate-authority": ca}}],
                   "users": [{"name": "u", "user": user}],
                   "contexts": [{"name": "x", "context": {
                       "cluster": "c", "user": "u"}}],
                   "current-context": "x"}, f)
    return path


class KubeNode(Node):
    """A node whose source is a cluster; the API server is in node.far."""

    kubeconfig = None

    def start(self, wait=True):
        argv = self.ns.argv(
            f"{BUILD}/stiled", "--source", "kube", "--kubeconfig",
            self.kubeconfig, "--run-dir", f"{self.dir}/run", "--state-dir",
            f"{self.dir}/state", "--bpffs", self.bpffs, "--device", "uplink",
            "--node-name", self.name, "--cni-conf-dir", f"{self.dir}/net.d",
            *self.args)
        for cidr in self.cidrs:
            argv += ["--pod-cidr", cidr]
        log = open(f"{self.dir}/log", "a")
        self.daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        if wait:
            self.ready()
        return self

    def request(self, op, **fields):
        """One request to the daemon's socket, its reply: much faster than a
        command."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(f"{self.dir}/run/stile.sock")
            sock.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                more = sock.recv(1 << 16)
                assert more, f"{op}: closed after {data!r}"
                data += more
        return json.loads(data)

    def status(self):
        return self.request("status")

    def hears(self):
        """Its status, once the socket is there and somebody listens."""
        try:
            return self.status()
        except OSError:
            return None

    def source_error(self):
        """Why the API server is not heard, or None."""
        return next((p["error"] for p in self.status().get("problems", ())
                     if p["object"] == "Source/kube"), None)

    def away_said(self):
        """How often the log says that the API server does not answer."""
        with open(f"{self.dir}/log") as f:
            return sum("all it gave stays" in line for line in f)

    def attach(self, pod, uid=None):
        """CNI ADD of a pod that the cluster has; (status, answer)."""
        namespace, name = pod.split("/")
        conf = {"cniVersion": "1.1.0", "name": "stile", "type": "stile-cni",
                "socket": f"{self.dir}/run/stile.sock"}
        if not os.path.exists(f"/run/netns/{name}"):
            run("ip", "netns", "add", name)
        env = dict(os.environ, CNI_COMMAND="ADD", CNI_IFNAME="eth0",
                   CNI_CONTAINERID=f"{namespace}-{name}", CNI_PATH=BUILD,
                   CNI_NETNS=f"/run/netns/{name}",
                   CNI_ARGS=f"K8S_POD_NAMESPACE={namespace};"
                            f"K8S_POD_NAME={name}" +
                            (f";K8S_POD_UID={uid}" if uid else ""))
        out = self.ns.run(f"{BUILD}/stile-cni", env=env, check=False,
                          input=json.dumps(conf))
        return out.returncode, json.loads(out.stdout or "{}")

    def cpu_s(self):
        with open(f"/proc/{self.daemon.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self):
        with open(f"/proc/{self.daemon.pid}/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f
                        if line.startswith("VmRSS"))


# ---- the real one -------------------------------------------------------------

class Api:
    """etcd and kube-apiserver in a namespace, on FAR4."""

    def __init__(self, netns, path):
        if not HK:
            raise Skip("no Kubernetes binary: set HK, or build build/k8s/hk")
        self.ns, self.path, self.children = netns, path, {}
        os.makedirs(path, exist_ok=True)
        self.pki = Pki(f"{path}/pki")
        self.cert, self.key = self.pki.leaf("apiserver", f"IP:{FAR4},IP:127.0.0.1")
        openssl("genrsa", "-out", f"{path}/sa.key", "2048")
        openssl("rsa", "-in", f"{path}/sa.key", "-pubout", "-out", f"{path}/sa.pub")
        with open(f"{path}/tokens.csv", "w") as f:
            f.write('admin-token,admin,admin,"system:masters"\n'
                    'nobody-token,nobody,nobody\n')
        self.server = f"https://{FAR4}:6443"
        self.kubeconfig = kubeconfig(f"{path}/kubeconfig", self.server,
                                     self.pki.ca, token="admin-token")
        self.tls = ssl.create_default_context(cafile=self.pki.ca)
        self.local = threading.local()

    def _spawn(self, name, *argv):
        log = open(f"{os.environ.get('KUBE_LOGS', self.path)}/{name}.log", "a")
        self.children[name] = subprocess.Popen(
            self.ns.argv(HK, name, *argv), stdout=log, stderr=log,
            start_new_session=True)

    def start_etcd(self):
        self._spawn("etcd", "--data-dir", f"{self.path}/etcd",
                    "--listen-client-urls", "http://127.0.0.1:2379",
                    "--advertise-client-urls", "http://127.0.0.1:2379",
                    "--listen-peer-urls", "http://127.0.0.1:2380",
                    "--unsafe-no-fsync", "--log-level", "warn")
        wait_for("etcd", lambda: self._quiet(self.etcd, "kv/range",
                                             {"key": "eA=="}), 60)

    def start_server(self):
        self._spawn("kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
                    f"--advertise-address={FAR4}", "--bind-address=0.0.0.0",
                    "--secure-port=6443", f"--tls-cert-file={self.cert}",
                    f"--tls-private-key-file={self.key}",
                    f"--service-account-key-file={self.path}/sa.pub",
                    f"--service-account-signing-key-file={self.path}/sa.key",
                    "--service-account-issuer=https://kubernetes.default.svc",
                    "--service-cluster-ip-range=10.96.0.0/16",
                    f"--token-auth-file={self.path}/tokens.csv",
                    "--authorization-mode=Node,RBAC",
                    "--disable-admission-plugins=ServiceAccount")
        wait_for("the API server", lambda: self._quiet(
            self.call, "GET", "/readyz"), 90)

    def start(self):
        self.start_etcd()
        self.start_server()
        return self

    def kill(self, name):
        """Without a word to anybody."""
        child = self.children.pop(name)
        child.send_signal(signal.SIGKILL)
        child.wait()
        self.local = threading.local()

    def stop(self):
        for name in list(self.children):
            self.kill(name)

    @staticmethod
    def _quiet(function, *args):
        try:
            return function(*args) or True
        except (OSError, http.client.HTTPException, AssertionError):
            return None

    def _connect(self, port, tls):
        with self.ns.entered():
            sock = socket.create_connection(("127.0.0.1", port), 10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            sock = self.tls.wrap_socket(sock, server_hostname=FAR4)
        link = http.client.HTTPConnection("x")
        link.sock = sock
        return link

    def call(self, method, path, body=None, kind="application/json"):
        """One request; the answer's JSON.  Fails on a refusal."""
        link, used = getattr(self.local, "link", (None, 0))
        # The server hangs up on who is silent for 90 s.
        if not link or time.monotonic() - used > 30:
            link = self._connect(6443, True)
        self.local.link = None, 0
        link.request(method, path, json.dumps(body) if body is not None else
                     None, {"Authorization": "Bearer admin-token",
                            "Content-Type": kind})
        answer = link.getresponse()
        text = answer.read()
        self.local.link = link, time.monotonic()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text[:300]}"
        return json.loads(text) if text[:1] in b"{[" else text

    def etcd(self, what, body):
        link = self._connect(2379, False)
        link.request("POST", f"/v3/{what}", json.dumps(body))
        answer = link.getresponse()
        text = answer.read()
        assert answer.status == 200, f"{what}: {answer.status} {text[:300]}"
        return json.loads(text)

    # -- objects

    def path_of(self, kind, namespace=None, name=None):
        group = {"networkpolicies": "/apis/networking.k8s.io/v1",
                 "endpointslices": "/apis/discovery.k8s.io/v1"}.get(kind, "/api/v1")
        return group + (f"/namespaces/{namespace}" if namespace else "") + \
            f"/{kind}" + (f"/{name}" if name else "")

    def create(self, kind, manifest):
        namespace = manifest["metadata"].get("namespace")
        return self.call("POST", self.path_of(kind, namespace), manifest)

    def delete(self, kind, namespace, name):
        return self.call("DELETE", self.path_of(kind, namespace, name),
                         {"kind": "DeleteOptions", "apiVersion": "v1",
                          "gracePeriodSeconds": 0})

    def label(self, kind, namespace, name, **labels):
        return self.call("PATCH", self.path_of(kind, namespace, name),
                         {"metadata": {"labels": labels}},
                         "application/merge-patch+json")

    # -- behind its back

    def etcd_put(self, pairs):
        """(key, object)s straight into etcd, each with a revision of its own:
        a watch that goes on from a version expects one change for each."""
        link = self._connect(2379, False)
        for key, value in pairs:
            link.request("POST", "/v3/kv/put", json.dumps({
                "key": base64.b64encode(key.encode()).decode(),
                "value": base64.b64encode(json.dumps(value).encode()).decode()}))
            answer = link.getresponse()
            text = answer.read()
            assert answer.status == 200, f"{key}: {answer.status} {text[:300]}"

    def etcd_delete(self, key, prefix=False):
        raw = key.encode()
        body = {"key": base64.b64encode(raw).decode()}
        if prefix:
            body["range_end"] = base64.b64encode(
                raw[:-1] + bytes([raw[-1] + 1])).decode()
        return self.etcd("kv/deleterange", body)

    def etcd_compact(self):
        revision = self.etcd("kv/range", {"key": "eA=="})["header"]["revision"]
        self.etcd("kv/compaction", {"revision": revision, "physical": True})


# ---- the scripted one ----------------------------------------------------------

KINDS = {"/api/v1/pods": ("Pod", "v1"), "/api/v1/namespaces": ("Namespace", "v1"),
         "/api/v1/nodes": ("Node", "v1"), "/api/v1/services": ("Service", "v1"),
         "/apis/networking.k8s.io/v1/networkpolicies":
             ("NetworkPolicy", "networking.k8s.io/v1"),
         "/apis/discovery.k8s.io/v1/endpointslices":
             ("EndpointSlice", "discovery.k8s.io/v1")}


class Scripted:
    """Says what it is told.  rules: path -> function(handler, query) that
    answers, or returns False to leave it to the default: an empty list, a
    silent watch."""

    def __init__(self, netns, pki, cert=None, port=6443):
        self.rules, self.seen, self.open = {}, [], True
        self.pki = pki
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self):
                outer._answer(self)

            do_PATCH = do_POST = do_GET

            def log_message(self, *args):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(cert or pki.leaf("scripted", f"IP:{FAR4}")))
        with netns.entered():
            self.httpd = http.server.ThreadingHTTPServer(
                ("0.0.0.0", port), Handler, bind_and_activate=False)
            self.httpd.socket.close()
            self.httpd.socket = socket.socket()
            self.httpd.socket.setsockopt(socket.SOL_SOCKET,
                                         socket.SO_REUSEADDR, 1)
            self.httpd.socket.bind(("0.0.0.0", port))
            self.httpd.server_activate()
        self.httpd.daemon_threads = True
        self.httpd.handle_error = lambda *args: None
        self.httpd.socket = context.wrap_socket(
            self.httpd.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.httpd.serve_forever, daemon=True,
                         kwargs={"poll_interval": 0.05}).start()

    def stop(self):
        self.open = False
        self.httpd.shutdown()
        self.httpd.server_close()

    def _answer(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        self.seen.append((handler.command, url.path, query,
                          handler.headers.get("Authorization"), body))
        rule = self.rules.get(url.path)
        if rule and rule(handler, query) is not False:
            return
        if "watch" in query:
            self.watch(handler, ())
        elif url.path in KINDS:
            self.list(handler, url.path, ())
        else:
            self.status(handler, 404, "not found")

    def reply(self, handler, status, text, **headers):
        data = text.encode()
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def status(self, handler, code, message, **headers):
        self.reply(handler, code, json.dumps(
            {"kind": "Status", "apiVersion": "v1", "status": "Failure",
             "code": code, "message": message}), **headers)

    def list(self, handler, path, items, version="100", more=None):
        kind, api = KINDS[path]
        meta = {"resourceVersion": version}
        if more:
            meta["continue"] = more
        self.reply(handler, 200, json.dumps(
            {"kind": f"{kind}List", "apiVersion": api, "metadata": meta,
             "items": list(items)}))

    def watch(self, handler, events, keep=True):
        """Chunks, each of @events a string or an object; then silence."""
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()

        def chunk(text):
            data = text.encode() if isinstance(text, str) else \
                json.dumps(text).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            handler.wfile.flush()
        for event in events:
            chunk(event)
        while keep and self.open and handler.connection.fileno() >= 0:
            time.sleep(0.05)
        if not keep:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True
