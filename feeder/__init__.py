"""feeder: a folder of Markdown articles becomes feeds in every reader and headlines in every channel, once."""

__version__ = "0.1.0"
