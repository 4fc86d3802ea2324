"""Tools for those who work on the product. Nothing of it runs in a server."""
