"""Salt's LocalClient, warm: a JSON line ``[function, args, timeout_s]`` in, and out
``{"seconds", "answers", "error"}``.

Runs in Salt's own environment, so it takes nothing of this package; its only argument is the master's
configuration file. It ends with its standard input.
"""

import json
import os
import sys
import time


def main(config: str) -> None:
    # What Salt itself may print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from salt.client import LocalClient

    client = None
    for line in sys.stdin:
        function, args, timeout_s = json.loads(line)
        answer: dict[str, object] = {"answers": {}, "error": None}
        begun = time.perf_counter()
        try:
            if client is None:
                client = LocalClient(c_path=config)
                begun = time.perf_counter()
            answer["answers"] = client.cmd("*", function, args, timeout=timeout_s)
        except Exception as exc:  # a master that is not ready; whoever asked decides what it means
            # Made anew after an error: one from before the master was ready stays without its key.
            answer["error"], client = repr(exc), None
        answer["seconds"] = time.perf_counter() - begun
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
