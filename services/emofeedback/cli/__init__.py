"""The commands behind `emofeedback`, one a module; `cli.py` reads their options."""
