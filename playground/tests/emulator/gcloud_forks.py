"""Run commands of gcloud in forks of one process, which has imported it once.

Run by the Python of gcloud, with the root of the SDK as its argument. Reads lines with the arguments of a
command as a JSON list, and answers each with a line of JSON. gcloud is that of the SDK, unmodified.
"""

import json
import os
import sys
import tempfile
import traceback


def main(root: str) -> None:
    """Run the commands that standard input lists."""
    sys.path[:0] = [f"{root}/lib/third_party", f"{root}/lib"]
    import gcloud  # noqa: F401 - sets the import path, as its script does
    from googlecloudsdk import gcloud_main

    for line in sys.stdin:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = os.fork()
            if child == 0:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                _run(gcloud_main, json.loads(line))
            _, status = os.waitpid(child, 0)
            output.seek(0)
            errors.seek(0)
            answer = {
                "code": os.waitstatus_to_exitcode(status),
                "output": output.read().decode(),
                "errors": errors.read().decode(),
            }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _run(gcloud_main, arguments) -> None:  # type: ignore[no-untyped-def]  # a module of the SDK
    code = 70
    try:
        sys.argv = ["gcloud", *arguments]
        gcloud_main.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


main(sys.argv[1])
