"""How `polybus run` ends: exit codes, calls that hang, processes of handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = """\
import asyncio, ctypes, os, sys, threading, time
import polybus

app = polybus.App()

"""


# Where the system tells of processes by files.
IN_PROC = Path("/proc/self/stat").exists()


def service(folder: Path, text: str) -> None:
    (folder / "service.py").write_text(HEAD + text)


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if IN_PROC and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return  # it has ended; whoever took it in hasn't looked yet
        except (ProcessLookupError, FileNotFoundError):  # it may go while it is read
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return err


HANGS = """
@app.handler("jobs", concurrency=1)
def work(body: str) -> None:
    print("began", flush=True)
    while True:
        time.sleep(0.01)
        print(end="", flush=True)  # it holds the lock of the stream now and then
"""


def test_d12_a_thread_that_never_returns_does_not_keep_the_process(shop, spawn: Callable) -> None:
    service(shop.folder, HANGS)
    process = spawn("run", "service:app", "--grace", "0s", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "began\n"
    err = end(process)
    assert process.returncode == 0
    assert "a call that was given up still runs: handler service.work in thread 'polybus jobs-1'" in err
    assert shop.waiting("jobs") == 1


@pytest.mark.parametrize(
    ("leaving", "code"),
    [("sys.exit(3)", 3), ("sys.exit()", 0), ("raise KeyboardInterrupt", 130), ("sys.exit('gone wrong')", 1)],
)
def test_what_a_handler_ends_the_process_with_is_its_exit_code(shop, spawn: Callable, leaving: str, code: int) -> None:
    service(shop.folder, f'@app.handler("keyed")\nasync def work(body: str) -> None:\n    {leaving}\n')
    process = spawn("run", "service:app", cwd=shop.folder)
    shop.publish("keyed", "a")
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "handler service.work ends the process: " in err


CANCELS = """
@app.handler("keyed")
async def work(body: str) -> None:
    for task in asyncio.all_tasks():
        if task.get_name() == "polybus consumer keyed":
            task.cancel()
"""


def test_a_consumer_that_ends_unasked_is_exit_code_1(shop, spawn: Callable) -> None:
    service(shop.folder, CANCELS)
    process = spawn("run", "service:app", cwd=shop.folder)
    shop.publish("keyed", "a")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ERROR polybus.app: the app fails, and is drained: the consumer of 'keyed' for service.work " in err
    assert err.splitlines()[-1].startswith("polybus: the consumer of 'keyed' for service.work ")


HOLDS = """
@app.handler("jobs", concurrency=1, executor="process")
def work(body: str) -> None:
    print(os.getpid(), flush=True)
    if body == "hold":
        ctypes.PyDLL(None).usleep(60_000_000)  # one call that never releases the interpreter's lock
    time.sleep(0.5)
    print("done", flush=True)
"""


def test_what_reaches_every_process_of_the_service_drains_it(shop, spawn: Callable) -> None:
    service(shop.folder, HOLDS)
    process = spawn("run", "service:app", cwd=shop.folder, start_new_session=True)
    shop.publish("jobs", "a")
    child = int(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    os.kill(child, signal.SIGTERM)  # as a container's runtime may
    assert process.stdout.readline() == "done\n"
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert shop.waiting("jobs") == 0
    until_gone(child)


def test_a_service_that_is_killed_leaves_no_process_even_one_that_holds_the_lock(shop, spawn: Callable) -> None:
    service(shop.folder, HOLDS)
    process = spawn("run", "service:app", cwd=shop.folder)
    shop.publish("jobs", "hold")
    child = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=60)
    until_gone(child)


def test_a_program_of_its_own_may_have_handlers_in_processes(shop, spawn: Callable) -> None:
    text = 'if __name__ == "__main__":\n    asyncio.run(app.run())\n'
    service(shop.folder, HOLDS + text)
    process = spawn(cwd=shop.folder, command=("service.py",))
    shop.publish("jobs", "a")
    assert int(process.stdout.readline()) != process.pid
    assert process.stdout.readline() == "done\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    (shop.folder / "service.py").write_text(HEAD + HOLDS + "asyncio.run(app.run())\n")
    _, err = spawn(cwd=shop.folder, command=("service.py",)).communicate(timeout=60)
    assert "write `if __name__ == '__main__':` before what runs it" in err


def test_an_app_that_would_do_nothing_is_refused(shop, spawn: Callable) -> None:
    service(shop.folder, "")
    process = spawn("run", "--quiet", "service:app", cwd=shop.folder)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "has no handlers and no lifespan" in err


RELOADED = """
@app.handler("jobs", concurrency=1)
async def work(body: str, delivery: polybus.Delivery) -> None:
    print("VERSION", body, delivery.attempt, flush=True)
    await asyncio.sleep(WAIT)
"""


def test_a_reload_drains_and_a_second_signal_hurries_it(shop, spawn: Callable) -> None:
    service(shop.folder, RELOADED.replace("VERSION", "one").replace("WAIT", "3600"))
    process = spawn("run", "service:app", "--reload", cwd=shop.folder)
    shop.publish("jobs", "a", "b")
    assert process.stdout.readline() == "one a 1\n"
    process.send_signal(signal.SIGTERM)
    while "draining" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert shop.waiting("jobs") == 2


def test_a_reload_uses_up_no_attempt_of_what_no_handler_began(shop, spawn: Callable) -> None:
    service(shop.folder, RELOADED.replace("VERSION", "one").replace("WAIT", "3600"))
    process = spawn("run", "service:app", "--reload", "--grace", "0s", cwd=shop.folder)
    shop.publish("jobs", "a", "b")
    assert process.stdout.readline() == "one a 1\n"
    path = shop.folder / "service.py"
    path.write_text(HEAD + RELOADED.replace("VERSION", "two").replace("WAIT", "0"))
    stamp = time.time_ns() + 1_000_000_000  # a change is seen whatever the file system's clock
    os.utime(path, ns=(stamp, stamp))
    assert {process.stdout.readline() for _ in range(2)} == {"two a 2\n", "two b 1\n"}
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("swallowed", [False, True])
def test_a_signal_while_services_are_imported_ends_the_process(shop, spawn: Callable, swallowed: bool) -> None:
    lines = ["print('importing', flush=True)", "try:", "    time.sleep(600)", "except BaseException:", "    pass"]
    text = "\n".join(lines if swallowed else [lines[0], lines[2].strip()])
    service(shop.folder, f"{text}\n\n@app.handler('jobs')\ndef work(body: str) -> None:\n    print('began')\n")
    shop.publish("jobs", "a")
    process = spawn("run", "service:app", cwd=shop.folder)
    assert process.stdout.readline() == "importing\n"
    # Not by the system's own handling, which does nothing for the first process of a container.
    assert "Traceback" not in end(process)
    assert process.returncode == 0
    assert shop.waiting("jobs") == 1
