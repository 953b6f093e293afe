"""A program: says in JSON what a Dask scheduler's workers have."""

import json
import sys

WAIT_S = 20


def main(scheduler: str) -> int:
    from distributed import Client

    try:
        with Client(scheduler, timeout=WAIT_S, set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
    except Exception as exc:
        sys.stderr.write(f"{scheduler}: no scheduler answers: {exc}\n")
        return 1
    found = {
        "workers": len(workers),
        "cpu_cores": sum(each["nthreads"] for each in workers),
        "memory_bytes": sum(each["memory_limit"] for each in workers),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
