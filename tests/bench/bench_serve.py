#!/usr/bin/env python3
"""bench_serve.py PROGRAM [SECONDS [CLIENTS]] - a load on `tessera serve` over loopback: clients ask for pages, canvases, answers, with
events and without, send what is wrong, and go away before they are answered. Prints how many of each there were, how long they took,
and the server's memory. Fails where a request is lost: it neither got an answer nor was it the client that left."""
import base64
import http.client
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

program, seconds, clients = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 30, int(sys.argv[3]) if len(sys.argv) > 3 else 64
demo = pathlib.Path(__file__).resolve().parents[2] / "assets" / "demo" / "segment"


def text_of(name):
    return base64.b64encode((demo / name).read_bytes()).decode()


question = {"examples": [{"input": text_of("in.png"), "output": text_of("out.png")}], "query": text_of("query.png")}
answer_body, canvas_body = json.dumps({**question, "settings": {"views": 1}}), json.dumps(question)
JSON = {"Content-Type": "application/json"}
kinds = [  # name, share, method, path, headers, body, statuses that are right
    ("page", 20, "GET", "/", {}, None, {200}),
    ("script", 15, "GET", "/rooms/example.js", {}, None, {200}),
    ("about", 15, "GET", "/v1/about", {}, None, {200}),
    ("canvas", 20, "POST", "/v1/canvases", JSON, canvas_body, {200, 429}),
    ("answer", 10, "POST", "/v1/answers", JSON, answer_body, {200, 429}),
    ("events", 5, "POST", "/v1/answers", {**JSON, "Accept": "text/event-stream"}, answer_body, {200, 429}),
    ("wrong", 10, "POST", "/v1/answers", JSON, '{"examples": [', {400, 429}),
    ("stranger", 3, "GET", "/v1/about", {"Host": "evil.example"}, None, {421}),
    ("leaves", 2, "POST", "/v1/answers", JSON, answer_body, set()),
]
lock = threading.Lock()
times, statuses, lost = {k[0]: [] for k in kinds}, {}, []


def ask(connection, kind, draw):
    name, _, method, path, headers, body, right = kind
    began = time.monotonic()
    connection.request(method, path, body, headers)
    if name == "leaves":
        time.sleep(draw.random() * 0.2)
        connection.close()
        status = "left"
    else:
        response = connection.getresponse()
        got, status = response.read(), response.status
        if status not in right or (name == "events" and status == 200 and b"event: answer" not in got and b"queue" not in got):
            raise RuntimeError(f"{name}: {status} {got[-200:]!r}")
    with lock:
        times[name].append(time.monotonic() - began)
        statuses[name, status] = statuses.get((name, status), 0) + 1
    return status


def client(number, port, end):
    draw, connection = random.Random(number), None
    while time.monotonic() < end:
        kind = draw.choices(kinds, [k[1] for k in kinds])[0]
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            status = ask(connection, kind, draw)
            if status == 429:
                time.sleep(0.1 * draw.random())
            if draw.random() < 0.1 or kind[0] in ("leaves", "stranger", "wrong"):
                connection.close()
                connection = None
        except Exception as problem:  # whatever it is: the request is lost
            with lock:
                lost.append(f"{kind[0]}: {problem!r}")
            connection = None


def memory(pid):
    return {m[0]: int(m[1]) / 1024 for m in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())}


server = subprocess.Popen([program, "serve", "--device", "cpu", "--port", "0"], stderr=subprocess.PIPE, text=True)
for line in server.stderr:
    found = re.search(r"open http://127\.0\.0\.1:(\d+)/", line)
    if found:
        break
port = int(found[1])
before = memory(server.pid)
threads = [threading.Thread(target=client, args=(i, port, time.monotonic() + seconds)) for i in range(clients)]
for t in threads:
    t.start()
for t in threads:
    t.join()
after = memory(server.pid)
server.send_signal(signal.SIGTERM)
ended = server.wait(30)

print(f"{clients} clients, {seconds:.0f} s, {os.cpu_count()} cores")
print(f"{'':10} {'requests':>8} {'median ms':>10} {'p99 ms':>10}  statuses")
for name, all_of in times.items():
    all_of.sort()
    n = len(all_of)
    told = ", ".join(f"{count} x {status}" for (k, status), count in sorted(statuses.items(), key=str) if k == name)
    if n:
        print(f"{name:10} {n:8} {1e3 * all_of[n // 2]:10.1f} {1e3 * all_of[min(n - 1, n * 99 // 100)]:10.1f}  {told}")
every = sorted(t for of in times.values() for t in of)
print(f"{'all':10} {len(every):8} {1e3 * every[len(every) // 2]:10.1f} {1e3 * every[len(every) * 99 // 100]:10.1f}")
print(f"memory: {before['VmRSS']:.0f} MB before, {after['VmRSS']:.0f} MB after, {after['VmHWM']:.0f} MB at most; lost: {len(lost)}; ended with {ended}")
for text in lost[:10]:
    print(text)
sys.exit(1 if lost or ended else 0)
