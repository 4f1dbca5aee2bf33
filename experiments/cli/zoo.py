"""The command that makes a zoo: many SAEs of one place, trained, explained and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options, output
from .app import app


@app.command()
def zoo(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where all of it goes; gigabytes.")
    ] = Path("zoo"),
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe", help="What is trained and explained.", show_default="the one of `make zoo`"
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes that train or explain at a time.")
    ] = 2,
    table: Annotated[
        bool, typer.Option("--table", help="Only print the table of what there is so far.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Train SAEs of many architectures alike, explain their features alike, and compare them.

    Hours of work; stopped, the same command goes on.
    """
    from ..zoo.place import Place
    from ..zoo.recipe import OWN, read_recipe

    place = Place(folder, read_recipe(recipe or OWN))
    if table:
        from ..zoo.table import table_of

        place.recipe.check()
        found = table_of(place)
    else:
        from ..terminal import ProgressBar
        from ..zoo.stages import run

        with ProgressBar() as bar:
            found = run(place, workers, bar, lambda sentence: typer.echo(sentence, err=True))
    if as_json:
        output.print_json([found.as_json()])
    else:
        from ..zoo.output import markdown

        typer.echo(markdown(place.recipe, found), nl=False)
