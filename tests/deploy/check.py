"""What stands in deploy/ can be read and does what it says: the files parse, and the command lines in them, run as processes on loopback,
are a cluster that takes a message and gives it back.

check.py GANTRY DEPLOY FOLDER: the program, the folder deploy/ and one for data. Prints a line a set; exit code 0 if all held.
Containers are not run, and helm's templates are read by this program: they hold nothing but substitutions of values.
"""

import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import yaml

READY_WITHIN = 60
STOP_WITHIN = 45
TOPIC = "deployed"
BODY = b"Hello"


def units(deploy):
    """The command line of each service."""
    for unit in sorted((deploy / "systemd").glob("*.service")):
        lines = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
        assert len(lines) == 1, f"{unit}: {len(lines)} ExecStart"
        program, *arguments = shlex.split(lines[0].removeprefix("ExecStart="))
        assert program == "/usr/bin/gantry", f"{unit} runs {program}"
        # What the environment file of each says.
        role = unit.stem.removeprefix("gantry-")
        yield role, arguments, {} if role == "nameserver" else {"GANTRY_NAMESERVER": "nameserver:9876"}


def compose(deploy):
    """The command of each service; an anchor's fields are merged by the parser."""
    services = yaml.safe_load((deploy / "docker/compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert service["image"] == "gantry", f"{name}: {service}"
        for needed in service.get("depends_on", ()):
            assert needed in services, f"{name} depends on {needed}"
        yield name, service["command"], {}


def chart(deploy):
    """The containers of each workload, as many as it has replicas."""
    folder = deploy / "helm/gantry"
    values = {"Values": yaml.safe_load((folder / "values.yaml").read_text()), "Release": {"Name": "demo"}}
    assert yaml.safe_load((folder / "Chart.yaml").read_text())["apiVersion"] == "v2"

    def value(found):
        node = values
        for key in found.group(1).split(".")[1:]:
            node = node[key]
        return str(node)

    for template in sorted((folder / "templates").glob("*.yaml")):
        text = re.sub(r"\{\{ (\.[A-Za-z.]+) \}\}", value, template.read_text())
        assert "{{" not in text, f"{template} holds more than substitutions"
        for document in yaml.safe_load_all(text):
            assert document["metadata"]["name"].startswith("demo-"), document["metadata"]
            if document["kind"] == "Service":
                continue
            (container,) = document["spec"]["template"]["spec"]["containers"]
            for replica in range(document["spec"]["replicas"]):
                pod = f"{document['metadata']['name']}-{replica}"
                fields = {"metadata.name": pod, "status.podIP": "127.0.0.1"}
                environment = {variable["name"]: fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
                               for variable in container.get("env", ())}
                yield pod, container["args"], environment


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Members:
    """The processes of a set, on free ports of loopback instead of the ports and hosts that they name."""

    def __init__(self, gantry, folder):
        self.gantry, self.folder = gantry, folder
        self.name_server = free_port()
        self.running = []

    def translated(self, text):
        """An address to listen on becomes one of loopback, a host's name that of the one name server."""
        if re.fullmatch(r"0\.0\.0\.0:9876|[a-z-]*nameserver:9876", text):
            return f"127.0.0.1:{self.name_server}"
        if re.fullmatch(r"[a-z0-9-]+=\d+(,[a-z0-9-]+=\d+)*", text):
            return re.sub(r"=\d+", lambda _: f"={free_port()}", text)
        return f"127.0.0.1:{free_port()}" if text.startswith("0.0.0.0:") else text

    def start(self, name, arguments, environment):
        arguments = [self.translated(argument) for argument in arguments]
        data = arguments.index("--data") + 1
        arguments[data] = str(self.folder / name)
        environment = {key: self.translated(text) for key, text in environment.items()}
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen([self.gantry, *arguments], env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        self.running.append((name, process, arguments))
        option = {"proxy": "--http"}.get(arguments[0], "--listen")
        port = int(arguments[arguments.index(option) + 1].rsplit(":", 1)[1])
        until(f"{name} serves", lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}"
        return port

    def stop(self):
        """As an operator does, the last that was started first."""
        for name, process, _ in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_WITHIN) == 0, f"{name} stopped with {process.returncode}"

    def kill(self):
        for _, process, _ in self.running:
            process.kill()


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def until(what, is_so):
    deadline = time.monotonic() + READY_WITHIN
    while not is_so():
        assert time.monotonic() < deadline, f"not within {READY_WITHIN} s: {what}"
        time.sleep(0.1)


def create_topic(port):
    """UPDATE_AND_CREATE_TOPIC over Remoting, with a header in JSON."""
    fields = {"topic": TOPIC, "readQueueNums": "4", "writeQueueNums": "4", "perm": "6", "topicFilterType": "SINGLE_TAG",
              "defaultTopic": "TBW102", "topicSysFlag": "0", "order": "false"}
    header = json.dumps({"code": 17, "language": "OTHER", "version": 477, "opaque": 1, "flag": 0, "extFields": fields}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall((4 + len(header)).to_bytes(4, "big") + len(header).to_bytes(4, "big") + header)
        answer = connection.recv(4096)
    assert json.loads(answer[8:8 + (int.from_bytes(answer[4:8], "big") & 0xFFFFFF)])["code"] == 0, answer


def post(port, path, body, content_type):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        return error.read()


def round_trip(proxies):
    """Through the first proxy in, through the last out."""
    until("a message is stored", lambda: b'"messageId"' in post(proxies[0], f"/v1/topics/{TOPIC}/messages", BODY, "text/plain"))
    ask = json.dumps({"topic": TOPIC}).encode()
    until("it is received", lambda: b'"handle"' in post(proxies[-1], "/v1/groups/readers/receive", ask, "application/json"))


def main():
    gantry, deploy, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    for name, lines in (("systemd", units), ("compose", compose), ("helm", chart)):
        data = folder / name
        data.mkdir(parents=True)
        order = ("nameserver", "broker", "proxy")
        processes = sorted(lines(deploy), key=lambda line: order.index(line[1][0]))
        members, proxies = Members(gantry, data), []
        try:
            for process in processes:
                port = members.start(*process)
                if process[1][0] == "broker":
                    create_topic(port)
                elif process[1][0] == "proxy":
                    proxies.append(port)
            round_trip(proxies)
            members.stop()
        finally:
            members.kill()
        print(f"{name}: {len(processes)} processes, a message sent and received", flush=True)


main()
