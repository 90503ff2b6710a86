"""Picture quality: metrics by name (:mod:`.registry`) and the Bjontegaard differences of two codecs."""

from beholder.metrics.bd_quality import bd_quality
from beholder.metrics.bd_rate import bd_rate
from beholder.metrics.ms_ssim import ms_ssim, ms_ssim_db
from beholder.metrics.psnr import psnr
from beholder.metrics.registry import MetricInfo, describe, get, higher_is_better, names, unavailable
from beholder.metrics.ssim import ssim

__all__ = [
    "MetricInfo",
    "bd_quality",
    "bd_rate",
    "describe",
    "get",
    "higher_is_better",
    "ms_ssim",
    "ms_ssim_db",
    "names",
    "psnr",
    "ssim",
    "unavailable",
]
