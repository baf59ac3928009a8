"""Articles: from the files of a folder to records."""
