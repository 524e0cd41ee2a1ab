"""CSS of the page, and scripts that label sliders for screen readers and open a picture dropped anywhere."""

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
LABELS = """
document.addEventListener("focusin", ({target}) => {  // a slider's handle, which has the focus, has no label itself
  const slider = target.closest(".q-slider");
  if (!slider || slider === target) return;
  const copy = () => ["role", "aria-label", "aria-valuemin", "aria-valuemax", "aria-valuenow"].forEach(
    (name) => target.setAttribute(name, slider.getAttribute(name)));
  copy();
  const observer = new MutationObserver(copy);
  observer.observe(slider, {attributeFilter: ["aria-valuenow"]});
  target.addEventListener("blur", () => observer.disconnect(), {once: true});
});
"""
"""A script that gives labels to the handles of sliders."""
DROP = """
const hasFiles = ({dataTransfer}) => dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {  // else the browser would leave the page for the file
  if (hasFiles(event)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  const input = document.querySelector(".q-uploader input[type=file]");
  if (!input || event.target.closest(".q-uploader")) return;
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change", {bubbles: true}));
});
"""
"""A script that passes files dropped anywhere on the page to the upload button, which takes its own by itself."""
