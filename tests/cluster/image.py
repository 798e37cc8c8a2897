#!/usr/bin/env python3
"""Packs a directory into a docker-archive that containerd imports: image.py NAME[,NAME…] OUT.tar ROOT [options]

One layer, no timestamps: the same directory gives the same image.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names")
    parser.add_argument("out")
    parser.add_argument("root")
    parser.add_argument("--cmd", type=json.loads, help="JSON list")
    parser.add_argument("--entrypoint", type=json.loads, help="JSON list")
    parser.add_argument("--user", default="")
    args = parser.parse_args()

    layer = args.out + ".layer"
    subprocess.run(
        ["tar", "-C", args.root, "--numeric-owner", "--sort=name", "--mtime=@0", "-cf", layer, "."],
        check=True,
    )
    with open(layer, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Env": [PATH], "Cmd": args.cmd, "Entrypoint": args.entrypoint, "User": args.user},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
            "history": [{"created_by": "logsidecar tests/cluster/image.py"}],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": args.names.split(","), "Layers": [digest + "/layer.tar"]}]
    with tarfile.open(args.out, "w") as archive:
        add(archive, name, config)
        archive.add(layer, arcname=digest + "/layer.tar")
        add(archive, "manifest.json", json.dumps(manifest).encode())
    os.unlink(layer)


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


main()
