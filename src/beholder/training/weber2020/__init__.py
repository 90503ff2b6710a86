"""The reference's recurrent codec (Weber et al., arXiv 1910.03472): config architecture `paper`."""
