"""Specifications to begin with, by ``farshore task example``: each is taken as it stands."""

from collections.abc import Mapping

SERVICE = """\
name: camera
# Runs all the time, on two nodes that have a camera.
kind: service
driver: process
run:
  argv: [/opt/camera/serve, --port, "8554"]
count: 2
requests: {cpu_cores: 0.5, memory_bytes: 268435456}
limits: {cpu_cores: 1, memory_bytes: 536870912}
# Where it may run, and where it would rather.
constraint: label.camera=yes
spread: [{over: node}]
restart: {delay_s: 0.5, delay_max_s: 30}
health: {tcp: "127.0.0.1:8554", interval_s: 5}
env:
  LEVEL: info
  # A value of the node's configuration, by its place there.
  RATE: {config: /app/camera/document/rate, default: "10"}
# A node that is not heard for 30 s: the task goes on there, and runs elsewhere, too.
disconnect: {on_disconnect: keep, lost_after_s: 30}
"""

FENCED = """\
name: dispenser
# One that must never run twice: it is ended at the node before it begins elsewhere.
kind: service
driver: process
run:
  argv: [/opt/dispenser/control]
stop_grace_s: 3
disconnect: {on_disconnect: stop, lost_after_s: 15}
"""

BATCH = """\
name: report
# Runs to its end, once; by 10 minutes after it was asked for.
kind: batch
driver: process
run:
  argv: [/usr/bin/python3, /opt/report.py]
requests: {cpu_cores: 2, memory_bytes: 1073741824}
deadline_s: 600
# How long it is thought to run, until runs were measured.
run_s: 90
# What it reads and where that lies weighs in where it runs.
reads: [{where: "group:core", bytes: 20000000000}]
restart: {policy: on_failure, attempts: 3}
"""

CRON = """\
name: nightly
# A batch that runs again and again: at 02:30 UTC.
kind: batch
cron: "30 2 * * *"
driver: process
run:
  argv: [/opt/backup/run]
requests: {cpu_cores: 0.2, memory_bytes: 67108864}
where: edge
"""

GPU = """\
name: detect
# A third of a GPU of one of two models.
kind: service
driver: process
run:
  argv: [/opt/detect/serve]
requests:
  cpu_cores: 1
  memory_bytes: 2147483648
  gpu: {milli: 333, models: [Tesla T4, NVIDIA A10]}
priority: 70
"""

CONTAINER = """\
name: broker
# A container, by Docker or Podman at the node.
kind: service
driver: container
run:
  image: docker.io/library/eclipse-mosquitto:2
requests: {cpu_cores: 0.2, memory_bytes: 67108864}
limits: {memory_bytes: 134217728}
"""

PYTHON = """\
name: score
# An entry point of a wheel, in an environment of its own.
kind: batch
driver: python
run:
  wheel: score-1.4.0-py3-none-any.whl
  entry: score.main:run
artifacts:
  - url: https://files.example.com/score-1.4.0-py3-none-any.whl
    digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
    path: score-1.4.0-py3-none-any.whl
requests: {cpu_cores: 1, memory_bytes: 536870912}
"""

DASK = """\
name: train
# Handed to a cluster by a node that stands before it, and is a node like any other.
kind: batch
driver: dask
run:
  entry: train.fit:main
  args: [42]
requests: {cpu_cores: 16, memory_bytes: 34359738368}
where: core
deadline_s: 7200
"""

EXAMPLES: Mapping[str, str] = {
    "service": SERVICE,
    "batch": BATCH,
    "cron": CRON,
    "fenced": FENCED,
    "gpu": GPU,
    "container": CONTAINER,
    "python": PYTHON,
    "dask": DASK,
}
