"""What pyproject.toml cannot say: the cffi module, and one wheel for CPython 3.11 and newer."""

from setuptools import setup

setup(
    cffi_modules=["build_ext.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
