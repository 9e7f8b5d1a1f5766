// rle.js - COCO's compressed run lengths, as the server sends masks.

/* Runs of pixels outside and inside by turns, down each column. */
function runsOf(counts) {
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const c = counts.charCodeAt(at++) - 48;
      value |= (c & 31) << shift;
      shift += 5;
      more = (c & 32) !== 0;
      if (!more && c & 16) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/* One byte a pixel, row by row: 1 inside. */
export function pixelsOf(mask) {
  const [height, width] = mask.size, out = new Uint8Array(width * height);
  let at = 0, inside = 0;
  for (const run of runsOf(mask.counts)) {
    if (inside) for (let i = at; i < at + run; i++) out[(i % height) * width + Math.floor(i / height)] = 1;
    at += run;
    inside = 1 - inside;
  }
  return out;
}

export const colours = [[47, 128, 237], [235, 110, 52], [39, 174, 120], [187, 85, 205], [242, 190, 50], [220, 70, 95], [70, 180, 200], [140, 150, 60]];

/* The mask in a colour, to be drawn over the picture; its edge is opaque. */
export function overlayOf(mask, colour) {
  const [height, width] = mask.size, inside = pixelsOf(mask), image = new ImageData(width, height);
  const reach = Math.max(1, Math.round(Math.max(width, height) / 700));
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) {
      if (!inside[i]) continue;
      const edge = x < reach || y < reach || x + reach >= width || y + reach >= height || !inside[i - reach] || !inside[i + reach] ||
        !inside[i - reach * width] || !inside[i + reach * width];
      image.data.set([colour[0], colour[1], colour[2], edge ? 255 : 110], 4 * i);
    }
  return image;
}
