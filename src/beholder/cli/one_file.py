"""One file compressed or decompressed: the plain case of the commands, which also knows pipes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from beholder.cli import files, progress, targets
from beholder.cli.batch import EXIT_PARTLY, Options
from beholder.cli.streams import one_line

if TYPE_CHECKING:
    from beholder.batch.tasks import Compress, Decompress
    from beholder.codecs.base import Codec


def compress(task: Compress, image: str, output: str | None, options: Options) -> None:
    """Compress one image, of which ``-`` is standard input.

    Raises:
        BeholderError: the image cannot be read, or its file cannot be written.
    """
    from beholder import api
    from beholder.codecs import AUTO
    from beholder.evaluation.metadata import file_bytes
    from beholder.limits import limit_pixels

    contestants = task.contestants()
    chosen, codec = task.codec == AUTO, contestants[0]
    for contestant in contestants:
        files.check_output(_output(image, output, contestant, chosen), image, options.force)
    if options.dry_run:
        where = "a file of the best codec" if chosen else _output(image, output, codec, chosen)
        print(one_line(f"{image} -> {where}"))
        print("Nothing was written.")
        return
    what = "Searching" if task.target is not None else "Optimising" if task.effort else "Compressing"
    with limit_pixels(task.max_pixels), progress.patient(what, hidden=options.quiet) as show:
        picture = api.open_picture(files.read_stdin() if image == files.STREAM else image, strip=task.strip)
        started = time.perf_counter()
        choice = None
        if task.target is None:
            quality: float = codec.scale.check(codec.name, task.quality)
            with codec.watched(show):
                data = codec.encode(picture, task.quality, alpha=task.alpha)
        else:
            from beholder.targets import choose

            choice = choose(contestants, picture, task.target, alpha=task.alpha, progress=show)
            codec = next(codec for codec in contestants if codec.name == choice.best.codec)
            quality, data = choice.best.quality, choice.best.data
        seconds = time.perf_counter() - started
    output = _output(image, output, codec, chosen)
    files.write(output, data, force=options.force)
    bpp = 8 * len(data) / (picture.width * picture.height)
    metadata = file_bytes(codec, picture)
    similarity = task.similarity(codec, picture, data) if options.verbose else None
    if options.as_json:
        facts = {"file": image, "output": output, "codec": codec.name, "quality": quality, "alpha": task.alpha}
        if not codec.takes_alpha:
            del facts["alpha"]
        facts |= {"width": picture.width, "height": picture.height, "bytes": len(data), "bpp": bpp}
        facts["metadata_bytes"] = metadata
        facts |= {} if similarity is None else {"ms_ssim": similarity}
        say(output, files.json_text(facts | ({} if choice is None else targets.facts(choice))))
    elif not options.quiet:
        reached = "" if choice is None else f", {targets.line(choice)}"
        apart = f", {metadata:,} bytes of it metadata (--strip leaves them out)" if metadata else ""
        say(output, f"{output}: {len(data):,} bytes, {bpp:.4f} bpp{apart}{reached}")
        if similarity is not None:
            observer = f"alpha {task.alpha:g}, " if codec.takes_alpha else ""
            more = f"{codec.name} quality {quality:.4g}, {observer}MS-SSIM {similarity:.4f}, {seconds:.2f} s to encode"
            say(output, f"{picture.width} x {picture.height} pixels, {more}")
    if choice is not None and not choice.best.reached:
        raise typer.Exit(EXIT_PARTLY)


def decompress(task: Decompress, file: str, output: str, options: Options) -> None:
    """Decompress one file, of which ``-`` is standard input.

    Raises:
        BeholderError: the file cannot be read, or the picture cannot be written.
    """
    from beholder import api
    from beholder.pictures import saving
    from beholder.reading import read_file

    files.check_output(output, file, options.force)
    if options.dry_run:
        print(one_line(f"{file} -> {output}"))
        print("Nothing was written.")
        return
    data = read_file(files.read_stdin() if file == files.STREAM else file)
    codec = api.recognise(data, task.model)
    with progress.patient("Decompressing", hidden=options.quiet) as show, codec.watched(show):
        picture = task.picture(data, codec)
        files.write(output, saving.picture_bytes(picture, output), force=options.force)
    if options.as_json:
        facts = {"file": file, "output": output, "codec": codec.name, "width": picture.width, "height": picture.height}
        say(output, files.json_text(facts | {"bytes": len(data)}))
    elif not options.quiet:
        say(output, f"{output}: {picture.width} x {picture.height} pixels")
        if options.verbose:
            say(output, f"from {codec.name}, {len(data):,} bytes")


def say(output: str, line: str) -> None:
    """Print a line for people, beside the data if those go to standard output."""
    print(one_line(line), file=sys.stderr if output == files.STREAM else sys.stdout)


def _output(image: str, output: str | None, codec: Codec, chosen: bool) -> str:
    """Where the file of ``codec`` goes; one that was ``chosen`` for the user brings its own suffix."""
    if not chosen:
        return output or files.default_output(image, codec.suffix)
    name = files.with_suffix(output or image, codec.suffix)
    same = output is None and image != files.STREAM and Path(name) == Path(image)
    return files.with_suffix(f"{Path(image).with_suffix('')}-compressed", codec.suffix) if same else name
