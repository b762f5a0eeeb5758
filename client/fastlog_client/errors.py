# -*- coding: utf-8 -*-
"""Errors of the package, which the sender handles."""

from __future__ import absolute_import, division, print_function


class NewIdNeeded(Exception):
    """The server and this client id do not fit together any more.

    Args:
        claimed: the last number that the server acknowledged, if that is the reason.
    """

    def __init__(self, text, claimed=None):
        Exception.__init__(self, text)
        self.claimed = claimed


ACK_BEYOND_SENT = "the server acknowledged records that were not sent"


class ConnectionRejected(Exception):
    """The connection must be closed.

    Args:
        action: what the server requires before the next connection: `session.RETRY` and others.
    """

    def __init__(self, action, text):
        Exception.__init__(self, text)
        self.action = action


class UnsafeFile(EnvironmentError):
    """A file or folder that another user made or can change: it is neither read nor written."""

    def __repr__(self):
        return str(self)
