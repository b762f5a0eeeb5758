# -*- coding: utf-8 -*-
"""Errors of the package, which the sender handles."""

from __future__ import absolute_import, division, print_function


class NewIdNeeded(Exception):
    """This client id is of no use any more with that server.

    Args:
        claimed: the last number that the server said it has, if that is why.
    """

    def __init__(self, text, claimed=None):
        Exception.__init__(self, text)
        self.claimed = claimed


ACK_BEYOND_SENT = "the server acknowledged what it was not sent"


class ConnectionRejected(Exception):
    """The connection must end; `action` says what is to be done before the next."""

    def __init__(self, action, text):
        Exception.__init__(self, text)
        self.action = action


class UnsafeFile(EnvironmentError):
    """Another user made this, or could change it: nothing of it is read or written."""

    def __repr__(self):
        return str(self)
