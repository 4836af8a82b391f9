"""What is in folders that runs leave."""

import csv


def contents(folder):
    """The bytes of all files in a folder, by their paths in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows_in(folder, name="samples.csv"):
    """The rows of a table of an evaluation, by column."""
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))
