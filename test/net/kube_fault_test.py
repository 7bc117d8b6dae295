# SPDX-License-Identifier: Apache-2.0
"""kube_fault_test - what a real API server never says, over real TLS.

    a scripted server (node-far, 192.0.2.2:6443) --- uplink --- node: stiled
"""
import json
import os
import time

from kube import KubeNode, Pki, Scripted, kubeconfig
from stage import FAR4, done, equal, netpol, pod_manifest, run, test, wait_for

NODE = KubeNode()
PKI = Pki(f"{NODE.dir}/pki")
PODS, POLICIES = "/api/v1/pods", "/apis/networking.k8s.io/v1/networkpolicies"
TOKEN = f"{NODE.dir}/token"
SERVER = None


def pod(name, version="10", uid=None, **labels):
    made = pod_manifest(f"shop/{name}", labels)
    made["metadata"].update(uid=uid or f"uid-{name}", resourceVersion=version)
    return made


class Stage:
    """A server with its rules, a daemon of its own."""

    def __init__(self, cert=None, wait=True, **rules):
        global SERVER
        NODE.kubeconfig = kubeconfig(f"{NODE.dir}/kubeconfig",
                                     f"https://{FAR4}:6443", PKI.ca,
                                     tokenFile=TOKEN)
        with open(TOKEN, "w") as f:
            f.write("first-token\n")
        self.server = SERVER = Scripted(NODE.far, PKI, cert)
        self.server.rules.update({PODS: rules.get("pods"),
                                  POLICIES: rules.get("policies")})
        self.wait = wait

    def __enter__(self):
        NODE.start(wait=self.wait)
        if not self.wait:
            wait_for("an answer", NODE.hears)
        return self.server

    def __exit__(self, *_):
        if NODE.daemon:
            equal(NODE.stop(), 0, "exit status")
        self.server.stop()


def pods():
    return NODE.status()["pods"]


def asked(server, path, watch=False):
    return [s for s in server.seen if s[1] == path and ("watch" in s[2]) == watch]


def never_ready(server_cert, *words):
    with Stage(cert=server_cert, wait=False) as server:
        error = wait_for("it is said", NODE.source_error)
        assert any(w in error for w in words), error
        equal(NODE.status()["ready"], False)
        equal(server.seen, [], "requests that it let through")


def another_authoritys_certificate_is_refused():
    other = Pki(f"{NODE.dir}/other", "other")
    never_ready(other.leaf("server", f"IP:{FAR4}"), "certificate")


def another_names_certificate_is_refused():
    never_ready(PKI.leaf("name", "IP:192.0.2.77,DNS:example.org"),
                "does not match", "no alternative certificate")


def a_certificate_of_yesterday_is_refused():
    never_ready(PKI.leaf("old", f"IP:{FAR4}", days="-1"), "expired")


def a_redirect_is_not_followed():
    def redirect(handler, _):
        SERVER.reply(handler, 302, "", Location=f"https://{FAR4}:6443/elsewhere")
    with Stage(wait=False, pods=redirect) as server:
        error = wait_for("it is said", NODE.source_error)
        assert "302" in error, error
        equal([s for s in server.seen if s[1] == "/elsewhere"], [])


def a_new_token_is_taken_at_once():
    def list_pods(handler, query):
        if handler.headers["Authorization"] != "Bearer " + good[0]:
            return SERVER.status(handler, 401, "Unauthorized")
        if "watch" in query:
            return SERVER.watch(handler, (), keep=False)
        return SERVER.list(handler, PODS, [pod("a")])
    good = ["first-token"]
    with Stage(pods=list_pods) as server:
        good[0] = "second-token"
        wait_for("the old one is refused", lambda: any(
            s[3] == "Bearer first-token" for s in asked(server, PODS, True)[2:]))
        with open(TOKEN + ".new", "w") as f:
            f.write("second-token\n")
        os.rename(TOKEN + ".new", TOKEN)
        wait_for("the new one is used", lambda: any(
            s[3] == "Bearer second-token" for s in server.seen))
        equal(pods(), 1)


def gone(handler_says):
    """The watch is too old; the new list lacks one pod and has another."""
    first = [True]

    def answer(handler, query):
        if "watch" not in query:
            return SERVER.list(handler, PODS, [pod("a"), pod("b")] if first[0]
                               else [pod("a"), pod("c"), pod("d")],
                               "100" if first[0] else "200")
        if query["resourceVersion"] == "100":
            first[0] = False
            return handler_says(handler)
        return False
    with Stage(pods=answer):
        wait_for("c and d come and b goes", lambda: pods() == 3)


def code_of(name):
    """What ADD says: 0, or its code."""
    code, answer = NODE.attach(name)
    return answer.get("code", 0) if code else 0


def gone_as_a_status():
    gone(lambda handler: SERVER.status(handler, 410, "too old"))


def gone_as_an_event():
    gone(lambda handler: SERVER.watch(handler, [
        {"type": "ERROR", "object": {"kind": "Status", "code": 410,
                                     "message": "too old"}}], keep=False))


def a_list_that_ends_half_way_removes_nothing():
    turn = [0]

    def answer(handler, query):
        if "watch" in query:
            return SERVER.status(handler, 410, "too old") if turn[0] < 4 else False
        turn[0] += 1
        if turn[0] == 1 or turn[0] >= 4:
            return SERVER.list(handler, PODS, [pod("a"), pod("b")])
        text = json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {
            "resourceVersion": "100"}, "items": [pod("a")]})
        if turn[0] == 2:  # whole HTTP, half a list
            return SERVER.reply(handler, 200, text[:-2])
        handler.send_response(200)  # half an answer
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text[:-40].encode())
        handler.close_connection = True
        return True
    with Stage(pods=answer):
        least = [2]

        def over():
            least[0] = min(least[0], pods())
            return turn[0] >= 4
        wait_for("four lists", over, 90)
        equal(least[0], 2, "pods, at least")


def an_expired_page_starts_the_list_again():
    lists = []

    def answer(handler, query):
        if "watch" in query:
            return False
        lists.append(query)
        if "continue" in query and len(lists) < 4:
            return SERVER.status(handler, 410, "the token is too old")
        if "continue" in query:
            return SERVER.list(handler, PODS, [pod("b")])
        return SERVER.list(handler, PODS, [pod("a")], more="next page/&=")
    with Stage(pods=answer):
        equal(pods(), 2)
        equal([q.get("continue") for q in lists],
              [None, "next page/&=", None, "next page/&="])


def an_event_without_end_is_cut_off():
    turn = [0]

    def answer(handler, query):
        if "watch" not in query:
            return SERVER.list(handler, PODS, [pod("a")])
        turn[0] += 1
        if turn[0] > 1:
            return False
        return SERVER.watch(handler, ['{"type":"ADDED","object":{"x":"'] +
                            ["y" * 65536] * 160)
    with Stage(pods=answer):
        wait_for("it watches again", lambda: turn[0] > 1)
        equal(pods(), 1)
        assert NODE.rss_mb() < 60, NODE.rss_mb()
        return f"{NODE.rss_mb():.1f} MB resident after 10 MB of one event"


def garbage_in_a_watch_is_listed_over():
    turn = [0]

    def answer(handler, query):
        if "watch" not in query:
            return SERVER.list(handler, PODS, [pod("a")])
        turn[0] += 1
        if turn[0] > 1:
            return False
        return SERVER.watch(handler, ['{"type":"ADDED","object":{]]}}\n'])
    with Stage(pods=answer) as server:
        wait_for("it watches again", lambda: turn[0] > 1)
        equal(len(asked(server, PODS)), 2, "lists")
        equal(pods(), 1)


def retry_after_is_honoured():
    times = []

    def answer(handler, query):
        times.append(time.monotonic())
        if len(times) == 1:
            return SERVER.status(handler, 429, "slow down", Retry_After="3")
        return False
    with Stage(pods=answer):
        assert times[1] - times[0] >= 3, times
        return f"waited {times[1] - times[0]:.1f} s for 3 s"


def add_asks_for_a_pod_that_the_watch_is_silent_about():
    with Stage() as server:
        server.rules["/api/v1/namespaces/shop/pods/quick"] = \
            lambda h, q: server.reply(h, 200, json.dumps(
                dict(pod("quick", "200"), kind="Pod", apiVersion="v1")))
        began = time.monotonic()
        code, answer = NODE.attach("shop/quick", "uid-quick")
        took = time.monotonic() - began
        equal(code, 0, answer)
        return f"{took * 1000:.0f} ms with its request"


def add_waits_two_seconds_and_the_daemon_goes_on():
    with Stage() as server:
        def slow(handler, _):
            time.sleep(15)
            server.status(handler, 404, "late")
        server.rules["/api/v1/namespaces/shop/pods/slow"] = slow
        run("ip", "netns", "add", "slow")
        import threading
        got = []
        began = time.monotonic()
        thread = threading.Thread(target=lambda: got.append(
            (code_of("shop/slow"), time.monotonic() - began)))
        thread.start()
        worst = 0
        while thread.is_alive():
            at = time.monotonic()
            NODE.status()
            worst = max(worst, time.monotonic() - at)
            time.sleep(0.05)
        equal(got[0][0], 11)
        assert 1.5 < got[0][1] < 12, got  # not when the server answers
        assert worst < 1.5, worst  # nobody waits for it
        return f"answered after {got[0][1]:.1f} s, others within {worst * 1000:.0f} ms"


def no_secret_is_ever_said():
    with open(f"{NODE.dir}/log") as f:
        text = f.read()
    assert "first-token" not in text and "second-token" not in text


for row in (another_authoritys_certificate_is_refused,
            another_names_certificate_is_refused,
            a_certificate_of_yesterday_is_refused,
            a_redirect_is_not_followed,
            a_new_token_is_taken_at_once,
            gone_as_a_status,
            gone_as_an_event,
            a_list_that_ends_half_way_removes_nothing,
            an_expired_page_starts_the_list_again,
            an_event_without_end_is_cut_off,
            garbage_in_a_watch_is_listed_over,
            retry_after_is_honoured,
            add_asks_for_a_pod_that_the_watch_is_silent_about,
            add_waits_two_seconds_and_the_daemon_goes_on,
            no_secret_is_ever_said):
    test(row.__name__, row)
done()
