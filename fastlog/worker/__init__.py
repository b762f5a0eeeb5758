"""The worker: one process for each sink, which follows the journal with its own cursor.

This file imports nothing: the commands and the supervisor read `life.py` without the decoder.
"""
