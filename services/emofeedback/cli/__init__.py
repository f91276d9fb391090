"""The commands behind `emofeedback`, one a module; `main.py` runs them, `options.py` reads their options."""
