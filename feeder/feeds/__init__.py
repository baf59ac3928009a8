"""Feeds and pages: from articles to the bytes that readers and browsers get."""
