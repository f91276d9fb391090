"""One module for each published layout.

Each has `SOURCE`, its name, and `LICENSE`; `SPLITS`, those that the layout has files for; `rows(folder)`, which finds
the rows and refuses files that are not there; and `sample(row)`, which makes one record of one row or raises `BadCell`.
"""
