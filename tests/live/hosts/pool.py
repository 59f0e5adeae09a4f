"""A multiprocessing pool whose workers log."""

import logging
import multiprocessing
import sys


def work(n):
    logging.getLogger("pool").warning("item %d", n)
    return n * n


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with multiprocessing.Pool(2) as pool:
        print(sum(pool.map(work, range(20))))
        pool.close()
        pool.join()
