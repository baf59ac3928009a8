"""Servers that nobody here wrote: `make e2e` gets them and runs these tests."""
