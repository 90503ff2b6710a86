"""``beholder compress``, ``decompress``, ``eval-image`` and ``demo``: what is done with a photo."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.cli import files, options, progress, targets
from beholder.errors import BadOptionError

if TYPE_CHECKING:
    from beholder.codecs.base import Codec
    from beholder.evaluation.one_image import Evaluation

DEMO_FOLDER = Path("demo-output")
EXIT_MISSED = 1
"""A file was written, but it does not reach its target."""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(compress)
    app.command()(decompress)
    app.command("eval-image")(eval_image)
    app.command()(demo)


def compress(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A photo in any format Pillow reads, or - for stdin.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="Default: IMAGE with the codec's suffix. - for stdout.",
        ),
    ] = None,
    compression: options.Compression = "rnn",
    alpha: options.Alpha = 0.0,
    quality: options.Quality = None,
    bpp: targets.Bpp = None,
    max_bytes: targets.MaxBytes = None,
    ms_ssim: targets.MsSsim = None,
    ssimulacra2: targets.Ssimulacra2 = None,
    psnr: targets.Psnr = None,
    keep_label: targets.KeepLabel = None,
    confidence: targets.Confidence = None,
    labels: options.Labels = None,
    model: options.Model = None,
    effort: options.Effort = 0,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Compress a photo to a file, with a quality or so that it reaches a size, a metric or a classifier's label.

    With a target, --compression auto takes the codec with the smallest file (of a size: the best picture).
    """
    from beholder import api
    from beholder.codecs.base import check_alpha
    from beholder.reading import open_image
    from beholder.targets import AUTO, choose

    target = targets.parse(
        quality,
        bpp=bpp,
        max_bytes=max_bytes,
        ms_ssim=ms_ssim,
        ssimulacra2=ssimulacra2,
        psnr=psnr,
        keep_label=keep_label,
        confidence=confidence,
        labels=labels,
    )
    if target is not None:
        target.check()
    contestants = api.open_contestants(compression, model, effort)
    codec = contestants[0]
    if compression != AUTO:
        api.check_options(codec, alpha, quality)
    elif target is None:
        raise BadOptionError("--compression auto chooses by a target: add one, such as --bpp 0.5 or --ms-ssim 0.97.")
    else:
        check_alpha(alpha)
    for contestant in contestants:
        files.check_output(_output(image, output, contestant, compression == AUTO), image, force)
    picture = open_image(files.read_stdin() if image == files.STREAM else image)
    with progress.bar("Optimising") if effort else contextlib.nullcontext(codec.progress) as codec.progress:
        choice = None if target is None else choose(contestants, picture, target, alpha=alpha)
        data = codec.encode(picture, quality, alpha=alpha) if choice is None else choice.best.data
    if choice is not None:
        codec = next(codec for codec in contestants if codec.name == choice.best.codec)
    output = _output(image, output, codec, compression == AUTO)
    files.write(output, data, force=force)
    bpp = 8 * len(data) / (picture.width * picture.height)
    if as_json:
        found = {"quality": codec.scale.check(codec.name, quality)} if choice is None else targets.facts(choice)
        size = {"width": picture.width, "height": picture.height, "bytes": len(data), "bpp": bpp}
        alphas = {"alpha": alpha} if codec.takes_alpha else {}
        _say(output, targets.show_json({"file": image, "output": output, "codec": codec.name} | alphas | size | found))
    else:
        reached = "" if choice is None else f", {targets.line(choice)}"
        _say(output, f"{output}: {len(data):,} bytes, {bpp:.4f} bpp{reached}")
    if choice is not None and not choice.best.reached:
        raise typer.Exit(EXIT_MISSED)


def _output(image: str, output: str | None, codec: Codec, chosen: bool) -> str:
    """Where the file of ``codec`` goes; one that was ``chosen`` for the user brings its own suffix."""
    if not chosen:
        return output or files.default_output(image, codec.suffix)
    name = files.with_suffix(output or image, codec.suffix)
    same = output is None and image != files.STREAM and Path(name) == Path(image)
    return files.with_suffix(f"{Path(image).with_suffix('')}-compressed", codec.suffix) if same else name


def decompress(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A compressed file of any codec, or - for stdin.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="Default: FILE with the suffix .png. The suffix chooses the format; - for PNG to stdout.",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            "-q",
            metavar="K",
            show_default=False,
            help="Decode a .bhd file only as far as quality K. Default: all of it.",
        ),
    ] = None,
    model: options.Model = None,
    force: options.Force = False,
) -> None:
    """Decompress a file of any codec to a picture."""
    from beholder import api

    if output:
        files.check_picture_suffix(output)
    else:
        output = files.default_output(file, ".png")
    files.check_output(output, file, force)
    data = files.read_stdin() if file == files.STREAM else api.read_compressed(file)
    picture = api.decompress(data, quality, model=model)
    files.write(output, files.picture_bytes(picture, output), force=force)
    _say(output, f"{output}: {picture.width} x {picture.height} pixels")


def eval_image(
    image: options.Image,
    compression: options.Compression = "rnn",
    alpha: options.Alpha = 0.0,
    quality: options.Quality = None,
    classifier: options.Classifier = options.DEFAULT_CLASSIFIER,
    labels: options.Labels = None,
    topk: Annotated[int, typer.Option("--topk", "-k", metavar="K", help="Number of predictions.")] = 5,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="native|paper",
            help="native: the photo as it is. paper: the resized and cropped square of the paper.",
        ),
    ] = "native",
    show: Annotated[bool, typer.Option("--show", help="Open the side-by-side picture.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="DIR",
            show_default=False,
            help="Write original, decompressed and compressed file, side-by-side picture and text.",
        ),
    ] = None,
    model: options.Model = None,
    effort: options.Effort = 0,
    keep_metadata: options.KeepMetadata = False,
    as_json: options.Json = False,
) -> None:
    """Compress a photo, decompress it, measure, and classify what is left."""
    from beholder import api
    from beholder.cli import tables

    if save is not None:
        files.check_folder(save)
    with tables.working(f"Compressing and classifying {image} ..."):
        result = api.evaluate(
            image,
            compression,
            alpha,
            quality,
            classifier=classifier,
            labels=labels,
            topk=topk,
            protocol=protocol,
            model=model,
            effort=effort,
            keep_metadata=keep_metadata,
        )
    saved = [] if save is None else save_evaluation(result, save)
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        tables.show(tables.evaluation_report(result))
    for path in saved:
        _say(files.STREAM if as_json else "", f"Saved {path}")
    if show:
        _open_viewer(result)


def demo(
    image: Annotated[
        str | None,
        typer.Argument(metavar="[IMAGE]", show_default=False, help="Default: a photo that ships with us."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", "-a", metavar="A", show_default=False, help="Of rnn. Default: both 0 and 1."),
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", "-q", metavar="Q", help="Of rnn, 1 to 8.", show_default=False)
    ] = None,
    classifier: options.Classifier = options.DEFAULT_CLASSIFIER,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where pictures and files go.")
    ] = DEMO_FOLDER,
    model: options.Model = None,
) -> None:
    """Show the neural codec beside JPEG, WebP and BPG at equal file size on one photo."""
    from beholder import samples
    from beholder.cli import tables
    from beholder.cli.commands import demonstration

    source = image or str(samples.path(samples.DEFAULT))
    files.check_folder(output)
    with tables.working("Compressing and classifying with rnn, jpeg, webp and bpg ..."):
        evaluations = demonstration.run(source, alpha, quality, classifier, model)
    first = evaluations[0]
    tables.show(
        f"{Path(source).name}, {first.width} x {first.height} pixels, seen by {first.classifier}",
        tables.comparison_table(evaluations),
    )
    print("Bytes are those of whole files; below the first, each quality is the one that comes nearest to it.")
    picture = demonstration.save(evaluations, output)
    print(f"Side by side: {picture}")


def save_evaluation(result: Evaluation, folder: Path) -> list[Path]:
    """Write everything about ``result`` into ``folder``; the paths of the files.

    Raises:
        OutputError: the folder cannot be created or written.
    """
    from beholder import codecs
    from beholder.cli import tables
    from beholder.evaluation import pictures

    codec = codecs.get(result.compression)
    image = re.sub(r"[^\w.-]+", "_", Path(result.image).stem) or "image"
    name = f"{image}.{codec.name}-q{result.quality}" + (f"-a{result.alpha:g}" if codec.takes_alpha else "")
    contents = {
        f"{image}.original.png": pictures.to_png(result.original),
        f"{name}{codec.suffix}": result.data,
        f"{name}.png": pictures.to_png(result.decompressed),
        f"{name}.side-by-side.png": pictures.to_png(pictures.comparison([result])),
        f"{name}.txt": tables.as_text(tables.evaluation_report(result)).encode(),
    }
    files.make_folder(folder)
    for file, data in contents.items():
        files.write(str(folder / file), data, force=True)
    return [folder / file for file in contents]


def _open_viewer(result: Evaluation) -> None:
    from PIL import ImageShow

    from beholder.errors import NotAvailableError
    from beholder.evaluation import pictures

    if not ImageShow.show(pictures.comparison([result]), title=result.image):
        raise NotAvailableError("There is no picture viewer here: use --save DIR instead of --show.")


def _say(output: str, line: str) -> None:
    """Print a line for people, beside the data if those go to standard output."""
    print(line, file=sys.stderr if output == files.STREAM else sys.stdout)
