"""Pictures of our own: where the boxes of tables and the lanes of revisions are, and how they look as SVG and text."""
