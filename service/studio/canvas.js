// A canvas with a pixel for each of the screen's.

/** Pixels of a side at most: an enlarged picture has no more to show. */
const MOST = 2048;

/**
 * Keep a canvas as large as it is shown, in device pixels.
 * @param {HTMLCanvasElement} canvas @param {() => void} draw what it shows, after each change of its size
 */
export function fitToScreen(canvas, draw) {
  new ResizeObserver(([entry]) => {
    const { width, height } = entry.contentRect;
    const scale = Math.min(devicePixelRatio, MOST / Math.max(width, height));
    const [across, down] = [width, height].map((length) => Math.round(length * scale));
    if (!across || !down || (across === canvas.width && down === canvas.height)) return;
    [canvas.width, canvas.height] = [across, down];
    draw();
  }).observe(canvas);
}
