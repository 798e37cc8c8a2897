"""Measures processor time and memory of log sidecars; called by `run`."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

WORK, BIN, LOGSIDECAR = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
RATES = [int(rate) for rate in os.environ.get("RATES", "0 1000 10000").split()]
SECONDS = float(os.environ.get("SECONDS_EACH", "20"))
LOGS, CONFIG, STATE = WORK / "logs", WORK / "config", WORK / "state"
TICK = os.sysconf("SC_CLK_TCK")
CAT = "while :; do cat; sleep 1; done"


class Sink(http.server.BaseHTTPRequestHandler):
    """A destination that takes everything, and costs next to nothing."""

    protocol_version = "HTTP/1.1"
    taken = 0

    def do_POST(self):
        Sink.taken += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", self.headers["Content-Type"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def injected(spec):
    """The sidecar's container and its config, as `logsidecar inject` writes them."""
    sidecar = {
        "apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"},
        "spec": {"target": {"name": "app"}, "logs": [{"name": "app", "directory": "/var/log/app"}], **spec},
    }
    workload = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app", "image": "busybox"}]}}},
    }
    text = "\n---\n".join(json.dumps(document) for document in (sidecar, workload))
    made = subprocess.run([LOGSIDECAR, "inject", "-f", "-"], input=text, check=True, capture_output=True, text=True).stdout
    # Without a cluster kubectl makes JSON of it nevertheless.
    local = [BIN / "kubectl", "label", "--local", "-f", "-", "-o", "json", "a=b"]
    answer = subprocess.run(local, input=made, check=True, capture_output=True, text=True).stdout
    decoder, objects, at = json.JSONDecoder(), [], 0
    while at < len(answer.rstrip()):
        value, at = decoder.raw_decode(answer, at + len(answer[at:]) - len(answer[at:].lstrip()))
        objects += value.get("items", [value])
    containers = [o["spec"]["template"]["spec"]["initContainers"][0] for o in objects if o["kind"] == "Deployment"]
    return containers[0], {name: text for o in objects if o["kind"] == "ConfigMap" for name, text in o["data"].items()}


def here(text):
    """The paths of the pod, as they are here."""
    for path, place in (("/var/log/app", LOGS), ("/logsidecar/config", CONFIG), ("/logsidecar/state", STATE)):
        text = text.replace(path, str(place))
    return text


def session(pid):
    """A process and all that came of it, also what has lost its parent since."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == pid:
            found.append(int(entry))
    return found


def used(pid):
    """Processor time so far, of what has ended as well, in seconds; memory that is not shared, in bytes."""
    ticks = memory = 0
    for one in session(pid):
        try:
            ticks += sum(int(field) for field in Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()[11:15])
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            memory += 1024 * int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))
        except (OSError, StopIteration):
            pass
    return ticks / TICK, memory


def write(rate, stop):
    """Lines of 200 bytes, in twenty portions a second."""
    with open(LOGS / "app.log", "a", buffering=1 << 20) as file:
        number, due = 0, time.monotonic()
        while not stop.is_set():
            for _ in range(rate // 20):
                number += 1
                file.write(f"{number:012d} {'x' * 186}\n")
            file.flush()
            due += 0.05
            stop.wait(max(0, due - time.monotonic()))


def measure(command, environment, rate):
    for folder in (LOGS, STATE):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    (LOGS / "app.log").touch()
    stop = threading.Event()
    writer = threading.Thread(target=write, args=(rate, stop))
    with open(LOGS / "app.log") as stdin, open(WORK / "out", "wb") as output:
        process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        writer.start()
        time.sleep(5)
        before, start, peak = used(process.pid)[0], time.monotonic(), 0
        while time.monotonic() - start < SECONDS:
            time.sleep(1)
            peak = max(peak, used(process.pid)[1])
        cpu = (used(process.pid)[0] - before) / (time.monotonic() - start)
        assert process.poll() is None, f"{command[0]} has ended: {(WORK / 'out').read_text()[-2000:]}"
        stop.set()
        writer.join()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return cpu, peak


def main():
    CONFIG.mkdir()
    applets = WORK / "applets"
    applets.mkdir()
    subprocess.run(["busybox", "--install", "-s", applets], check=True)
    environment = {"PATH": str(applets), "POD_NAME": "app-0", "POD_NAMESPACE": "shop", "NODE_NAME": "node", "LOGSIDECAR_CONTAINER_APP": "app"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 3100), Sink)
    server.handle_error = lambda *_: None  # whoever sends is killed in the middle of it
    threading.Thread(target=server.serve_forever, daemon=True).start()

    tail, _ = injected({"sidecar": {"tail": {}}})
    outputs = [{"name": "loki", "loki": {"url": "http://127.0.0.1:3100"}}]
    collector, files = injected({"outputs": outputs, "sidecar": {"otelCollector": {}}})
    for name, text in files.items():
        (CONFIG / name).write_text(here(text))
    (CONFIG / "hand-tuned.yaml").write_text(here(Path("tests/cost/hand-tuned.yaml").read_text()))
    set_there = {entry["name"]: entry["value"] for entry in collector["env"] if "value" in entry}
    groups = [
        (["a loop of cat", [applets / "sh", "-c", CAT], environment],
         ["tail", [applets / tail["command"][0], *tail["command"][1:], *map(here, tail["args"])], environment]),
        (["tuned by hand", [BIN / "otelcol", f"--config={CONFIG}/hand-tuned.yaml"], environment],
         ["otelCollector", [BIN / "otelcol", *map(here, collector["args"])], {**environment, **set_there}]),
    ]
    print("| sidecar | lines/s | processor (cores) | ratio | memory (MiB) | ratio |\n|---|---|---|---|---|---|")
    for group in groups:
        for rate in RATES:
            bound = None
            for name, command, env in group:
                taken = Sink.taken
                cpu, memory = measure(command, env, rate)
                arrives = Sink.taken > taken if name in ("tuned by hand", "otelCollector") else (WORK / "out").stat().st_size > 0
                assert arrives or rate == 0, f"{name}: nothing has arrived"
                bound = bound or (cpu, memory)
                ratio = f"{cpu / bound[0]:.1f}" if bound[0] else "-"
                print(f"| {name} | {rate} | {cpu:.4f} | {ratio} | {memory / 2**20:.1f} | {memory / bound[1]:.1f} |", flush=True)


main()
