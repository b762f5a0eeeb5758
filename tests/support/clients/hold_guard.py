"""Try to take a guard that another thread holds: `hold_guard.py SECONDS`. Python 2.7 too.

The other thread runs generators inside the guard. It prints how often the guard was taken.
"""

from __future__ import print_function

import sys
import threading
import time

from fastlog_client.guard import Guard

guard, held, done = Guard(), threading.Event(), threading.Event()


def hold():
    with guard:
        held.set()
        while not done.is_set():
            sum(number for number in range(3))


if sys.version_info[0] == 2:
    sys.setcheckinterval(1)  # switch between the threads at each bytecode
thread = threading.Thread(target=hold)
thread.start()
held.wait()
end, taken = time.time() + float(sys.argv[1]), 0
while time.time() < end:
    if guard.attempt():
        taken += 1
        guard.release()
done.set()
thread.join()
print(taken)
