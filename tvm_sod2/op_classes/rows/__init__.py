"""The rows, by family of operators; `table.py` puts them together."""
