# -*- coding: utf-8 -*-
"""Runs CPython's own test_logging with a handler of ours in the place of the standard one.

    run_test_logging.py CLIENT_DIRECTORY HANDLER WHICH [NAME...]

WHICH is `only` or `except`; NAMEs are ends of test ids: `SocketHandlerTest.test_output`. Python
2.7, 3.6+. Prints the number of tests that ran; the exit status says whether all passed.
"""

from __future__ import print_function

import logging.handlers
import os
import sys
import unittest

sys.path.insert(0, sys.argv[1])
import fastlog_client


def cases(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            for case in cases(each):
                yield case
        else:
            yield each


def main(handler, which, *names):
    logging.handlers.SocketHandler = getattr(fastlog_client, handler)
    from test import test_logging

    chosen = unittest.TestSuite()
    for case in cases(unittest.defaultTestLoader.loadTestsFromModule(test_logging)):
        if case.id().endswith(names) == (which == "only"):
            chosen.addTest(case)
    result = unittest.TextTestRunner(stream=sys.stderr).run(chosen)
    print("ran", result.testsRun)
    sys.stdout.flush()
    os._exit(not result.wasSuccessful())  # at its end, our handler would wait for a server


if __name__ == "__main__":
    main(*sys.argv[2:])
