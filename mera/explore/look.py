"""The look of the page."""

from __future__ import annotations

PRIMARY = "#1f6299"
"""The colour of buttons, which has enough contrast with white text."""
STYLE = """
.picture img { image-rendering: pixelated; }
.q-uploader__list, .q-uploader__subtitle { display: none; }
.q-notification .q-btn { color: white !important; }
@media (max-width: 767px) {  /* the image stays in sight while what changes it is scrolled */
  .beside { display: contents; }
  .now { position: sticky; top: 3.5rem; z-index: 2; width: 100%; padding: 0.5rem 0; background: white; }
  .body--dark .now { background: #121212; }
  .now .picture { width: 9rem; }
}
"""
"""CSS of the page."""
