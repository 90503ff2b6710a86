"""Pictures as samples, colours and metadata: every mode becomes L, LA, RGB or RGBA, and any file format is written."""
