"""A program that forks: each child logs and answers through its exit status."""

import logging
import os
import sys

log = logging.getLogger("family")
log.warning("parent before")
children = []
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        log.warning("child %d", number)
        os._exit(number)
    children.append(pid)
statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
log.warning("parent after")
print(statuses)
