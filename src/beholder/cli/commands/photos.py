"""``beholder compress``, ``decompress``, ``evaluate-image`` and ``demo``: commands for one photo."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.cli import batch, files, one_file, options, targets

if TYPE_CHECKING:
    from beholder.evaluation.one_image import Evaluation

DEMO_FOLDER = Path("demo-output")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(compress)
    app.command()(decompress)
    app.command("evaluate-image")(evaluate_image)
    app.command("eval-image", hidden=True)(evaluate_image)
    app.command()(demo)


def compress(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Photos in any format Pillow reads, folders of them, or - for stdin."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="Default: IMAGE with the codec's suffix. - for stdout. Of many files and of folders: a folder.",
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(
            "--codec",
            "-c",
            "--compression",
            metavar="C",
            show_default=False,
            help="The codec; `beholder codecs` lists them. Default: that of OUT's suffix, else rnn.",
        ),
    ] = None,
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
    human: options.Human = None,
    observer: options.Observer = None,
    strip: options.Strip = False,
    max_pixels: options.MaxPixels = None,
    recursive: batch.Recursive = False,
    jobs: batch.Jobs = None,
    measure: batch.Measure = True,
    resume: batch.Resume = False,
    dry_run: batch.DryRun = False,
    force: options.Force = False,
    quiet: batch.Quiet = False,
    verbose: batch.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Compress photos, with a quality or so that they reach a size, a metric or a classifier's label.

    With a target, --codec auto takes the codec with the smallest file (of a size: the best picture).
    """
    from beholder.batch.tasks import Compress

    settings = batch.Options(recursive, jobs, resume, force, dry_run, quiet, verbose, as_json)
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
    own = None if model is None else str(model)
    many = batch.asked(images, output, settings)
    if output is not None and not many:
        files.check_output(output, images[0], force=True)
    chosen = files.choose_codec(codec, None if many else output)
    task = Compress(chosen, alpha, quality, target, own, effort, human, observer, measure, strip, max_pixels)
    task.check()
    if many:
        batch.run(task, images, output, settings)
    else:
        one_file.compress(task, images[0], output, settings)


def decompress(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Compressed files of any codec, folders of them, or - for stdin."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            show_default=False,
            help="Default: FILE with the suffix .png. The suffix chooses the format; - for PNG to stdout. Of many "
            "files and of folders: a folder.",
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
    suffix: Annotated[
        str, typer.Option("--suffix", metavar=".S", help="Format of many pictures.", rich_help_panel="Many files")
    ] = ".png",
    model: options.Model = None,
    strip: options.Strip = False,
    max_pixels: options.MaxPixels = None,
    recursive: batch.Recursive = False,
    jobs: batch.Jobs = None,
    resume: batch.Resume = False,
    dry_run: batch.DryRun = False,
    force: options.Force = False,
    quiet: batch.Quiet = False,
    verbose: batch.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Decompress files of any codec to pictures."""
    from beholder.batch.tasks import Decompress
    from beholder.pictures import saving

    settings = batch.Options(recursive, jobs, resume, force, dry_run, quiet, verbose, as_json)
    suffix = suffix if suffix.startswith(".") else f".{suffix}"
    saving.check_picture_suffix(f"picture{suffix}")
    task = Decompress(quality, None if model is None else str(model), suffix.lower(), strip, max_pixels)
    if batch.asked(sources, output, settings):
        batch.run(task, sources, output, settings)
        return
    if output:
        saving.check_picture_suffix(output)
    one_file.decompress(task, sources[0], output or files.default_output(sources[0], suffix), settings)


def evaluate_image(
    image: options.Image,
    codec: options.Codec = "rnn",
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
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            "--save",
            metavar="DIR",
            show_default=False,
            help="Write original, decompressed and compressed file, side-by-side picture and text.",
        ),
    ] = None,
    model: options.Model = None,
    effort: options.Effort = 0,
    human: options.Human = None,
    keep_metadata: options.KeepMetadata = False,
    max_pixels: options.MaxPixels = None,
    as_json: options.Json = False,
) -> None:
    """Compress a photo, decompress it, measure it, and classify the result."""
    from beholder import api
    from beholder.cli import tables

    if output is not None:
        files.check_folder(output)
    with tables.working(f"Compressing and classifying {image} ..."):
        result = api.evaluate_image(
            image,
            codec,
            alpha,
            quality,
            classifier=classifier,
            labels=labels,
            topk=topk,
            protocol=protocol,
            model=model,
            effort=effort,
            human=human,
            keep_metadata=keep_metadata,
            max_pixels=max_pixels,
        )
    saved = [] if output is None else save_evaluation(result, output)
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        tables.show(tables.evaluation_report(result))
    for path in saved:
        one_file.say(files.STREAM if as_json else "", f"Saved {path}")
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
        int | None, typer.Option("--quality", "-q", metavar="Q", help="Of rnn, 1 to 12.", show_default=False)
    ] = None,
    classifier: options.Classifier = options.DEFAULT_CLASSIFIER,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where pictures and files go.")
    ] = DEMO_FOLDER,
    model: options.Model = None,
    max_pixels: options.MaxPixels = None,
) -> None:
    """Show the neural codec beside JPEG, WebP and BPG at equal file size on one photo."""
    from beholder import samples
    from beholder.cli import tables
    from beholder.cli.commands import demonstration
    from beholder.limits import limit_pixels

    source = image or str(samples.path(samples.DEFAULT))
    files.check_folder(output)
    with limit_pixels(max_pixels), tables.working("Compressing and classifying with rnn, jpeg, webp and bpg ..."):
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

    codec = codecs.get(result.codec)
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
        raise NotAvailableError("There is no picture viewer here: use --output DIR instead of --show.")
