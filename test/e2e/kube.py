# SPDX-License-Identifier: Apache-2.0
"""kube.py - the API server over one connection that is kept."""
import base64
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import urllib.parse

GROUPS = {  # kind -> path before the namespace, plural
    "Node": ("/api/v1", "nodes"), "Namespace": ("/api/v1", "namespaces"),
    "Pod": ("/api/v1", "pods"), "Service": ("/api/v1", "services"),
    "ConfigMap": ("/api/v1", "configmaps"), "Event": ("/api/v1", "events"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "DaemonSet": ("/apis/apps/v1", "daemonsets"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Job": ("/apis/batch/v1", "jobs"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1",
                           "clusterrolebindings"),
}
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class Refused(Exception):
    """What the API server answered instead."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text[:600]}")
        self.status = status


def token_of(kubeconfig):
    with open(kubeconfig) as f:
        return re.search(r"token: (\S+)", f.read())[1]


def condition(item, kind):
    for c in item.get("status", {}).get("conditions", []):
        if c["type"] == kind:
            return c["status"]
    return None


class Kube:
    """Objects are dicts, as the API has them."""

    def __init__(self, server, ca=None, token=None, context=None):
        self.url, self.token = urllib.parse.urlsplit(server), token
        self.context = context or ssl.create_default_context(cafile=ca)
        self.connection = None

    @classmethod
    def of_kubeconfig(cls, hk, path):
        """Certificates too: kubectl knows how to read them."""
        out = subprocess.run([hk, "kubectl", "--kubeconfig", path, "config", "view",
                              "--raw", "-o", "json"], check=True,
                             capture_output=True, text=True).stdout
        conf = json.loads(out)
        cluster, user = conf["clusters"][0]["cluster"], conf["users"][0]["user"]
        ca = cluster.get("certificate-authority-data")
        context = ssl.create_default_context(
            cafile=cluster.get("certificate-authority"),
            cadata=base64.b64decode(ca).decode() if ca else None)
        if "client-certificate-data" in user:
            with tempfile.TemporaryDirectory() as d:
                for part in ("certificate", "key"):
                    fd = os.open(f"{d}/{part}", os.O_CREAT | os.O_WRONLY, 0o600)
                    with os.fdopen(fd, "wb") as f:
                        f.write(base64.b64decode(user[f"client-{part}-data"]))
                context.load_cert_chain(f"{d}/certificate", f"{d}/key")
        return cls(cluster["server"], token=user.get("token"), context=context)

    def request(self, method, path, body=None, kind="application/json"):
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = kind
            body = json.dumps(body)
        for last in (False, True):
            kept = self.connection is not None
            try:
                answer = self._exchange(method, path, body, headers)
                break
            except (OSError, http.client.HTTPException) as why:
                self.close()
                if last or not kept:  # a kept connection may have been closed
                    raise OSError(f"{method} {path}: {why}") from why
        text = answer.read().decode()
        if answer.status >= 300:
            raise Refused(answer.status, text)
        return json.loads(text) if text[:1] in ("{", "[") else text

    def _exchange(self, method, path, body, headers):
        if not self.connection:
            self.connection = http.client.HTTPSConnection(
                self.url.hostname, self.url.port, context=self.context, timeout=30)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP,
                                            socket.TCP_NODELAY, 1)
        self.connection.request(method, path, body, headers)
        return self.connection.getresponse()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    @staticmethod
    def path(kind, namespace=None, name=None):
        group, plural = GROUPS[kind]
        place = f"/namespaces/{namespace}" if namespace else ""
        return f"{group}{place}/{plural}" + (f"/{name}" if name else "")

    def of(self, item):
        meta = item["metadata"]
        return self.path(item["kind"], meta.get("namespace"), meta["name"])

    def get(self, kind, namespace=None, name=None, query=""):
        return self.request("GET", self.path(kind, namespace, name) + query)

    def find(self, kind, namespace=None, name=None):
        """None when there is none."""
        try:
            return self.get(kind, namespace, name)
        except Refused as why:
            if why.status == 404:
                return None
            raise

    def create(self, item):
        meta = item["metadata"]
        return self.request("POST", self.path(item["kind"], meta.get("namespace")),
                            item)

    def replace(self, item):
        return self.request("PUT", self.of(item), item)

    def patch(self, kind, namespace, name, patch, part="", how=MERGE):
        return self.request("PATCH", self.path(kind, namespace, name) + part,
                            patch, how)

    def delete(self, kind, namespace, name, grace=None):
        body = {"kind": "DeleteOptions", "apiVersion": "v1",
                "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            return self.request("DELETE", self.path(kind, namespace, name), body)
        except Refused as why:
            if why.status != 404:
                raise
            return None
