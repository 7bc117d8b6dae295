# SPDX-License-Identifier: Apache-2.0
"""pki.py - certificates, tokens and kubeconfigs of a throwaway cluster."""
import os
import secrets
import subprocess

USERS = {  # file -> user, group
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}

KUBECONFIG = """apiVersion: v1
kind: Config
clusters:
- name: e2e
  cluster:
    server: {server}
    certificate-authority: {dir}/ca.crt
users:
- name: user
  user:
    token: {token}
contexts:
- name: e2e
  context:
    cluster: e2e
    user: user
current-context: e2e
"""


def _openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, capture_output=True)


def _key(path):
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-out", path)


def _leaf(top, name, subject, usage, names=()):
    """A key and a certificate that the cluster's CA signed."""
    base = f"{top}/{name}"
    _key(f"{base}.key")
    with open(f"{base}.ext", "w") as f:
        f.write("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
                f"extendedKeyUsage={usage}\n")
        if names:
            f.write(f"subjectAltName={','.join(names)}\n")
    _openssl("req", "-new", "-key", f"{base}.key", "-subj", subject,
             "-out", f"{base}.csr")
    _openssl("x509", "-req", "-in", f"{base}.csr", "-CA", f"{top}/ca.crt",
             "-CAkey", f"{top}/ca.key", "-CAcreateserial", "-days", "3650",
             "-extfile", f"{base}.ext", "-out", f"{base}.crt")
    os.unlink(f"{base}.ext")
    os.unlink(f"{base}.csr")


def make(top, server, addresses, nodes):
    """Everything into @top; the API server is @server (a URL) for all."""
    os.makedirs(top, mode=0o700)
    _key(f"{top}/ca.key")
    _openssl("req", "-x509", "-new", "-key", f"{top}/ca.key", "-subj",
             "/CN=e2e", "-days", "3650", "-out", f"{top}/ca.crt",
             "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    service = "kubernetes.default.svc.cluster.local".split(".")
    names = ["DNS:localhost"]
    names += [f"DNS:{'.'.join(service[:n])}" for n in (1, 2, 3, 5)]
    names += [f"IP:{address}" for address in addresses]
    _leaf(top, "apiserver", "/CN=kube-apiserver", "serverAuth", names)
    _leaf(top, "kubelet-client", "/O=system:masters/CN=apiserver", "clientAuth")
    _key(f"{top}/sa.key")
    _openssl("pkey", "-in", f"{top}/sa.key", "-pubout", "-out", f"{top}/sa.pub")
    users = dict(USERS)
    users.update({n: (f"system:node:{n}", "system:nodes") for n in nodes})
    with open(f"{top}/tokens.csv", "w") as tokens:
        for name, (user, group) in users.items():
            token = secrets.token_hex(16)
            tokens.write(f'{token},{user},{user},"{group}"\n')
            with open(f"{top}/{name}.kubeconfig", "w") as f:
                f.write(KUBECONFIG.format(server=server, dir=top, token=token))
