"""Picture quality: MS-SSIM, PSNR, and the Bjontegaard rate difference of two codecs."""

from beholder.metrics.bd_rate import bd_rate
from beholder.metrics.ms_ssim import ms_ssim, ms_ssim_db
from beholder.metrics.psnr import psnr

__all__ = ["bd_rate", "ms_ssim", "ms_ssim_db", "psnr"]
