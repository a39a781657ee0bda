"""The calls of the API, one module for each group of them. Each has ``calls(parts)``, which site.py puts together."""
