"""BPG: one HEVC still picture in a container of a dozen bytes.

The file format is that of the BPG specification 0.9.5 (Fabrice Bellard, bellard.org/bpg); PyAV's
libx265 and libavcodec do the HEVC work.

- :mod:`.codec` -- the :class:`Bpg` codec: pictures to files and back.
- :mod:`.container` -- the file header and its extensions.
- :mod:`.hevc` -- parameter sets and NAL units: from a plain HEVC stream to BPG's headless one and back.
- :mod:`.pictures` -- one picture through libx265 or libavcodec.
- :mod:`.colour` -- RGB to coded planes and back.
"""

from beholder.codecs.bpg.codec import Bpg

__all__ = ["Bpg"]
