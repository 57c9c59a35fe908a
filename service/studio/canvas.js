// A canvas with a pixel for each of the screen's.

/** Pixels of a side at most: an enlarged picture has no more to show. */
const MOST = 2048;

/**
 * Keep a canvas as large as it is shown, in device pixels.
 * @param {HTMLCanvasElement} canvas square @param {() => void} draw what it shows, after each change of its size
 */
export function fitToScreen(canvas, draw) {
  new ResizeObserver(([entry]) => {
    const shown = Math.min(MOST, Math.round(entry.contentRect.width * devicePixelRatio));
    if (!shown || shown === canvas.width) return;
    canvas.width = canvas.height = shown;
    draw();
  }).observe(canvas);
}
