"use strict";
// One small chart: lines over the last two minutes, the highest value written at its top.

const SHOWN_S = 120;

/**
 * @param {HTMLCanvasElement} canvas where to draw
 * @param {{t_s: number}[]} rows one a second, oldest first
 * @param {string[]} keys of the rows: the first is drawn in full colour and filled, others faint
 * @param {string} unit behind the highest value
 */
function drawChart(canvas, rows, keys, unit) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) return;
  const pixels = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);

  const ends = rows.length ? rows[rows.length - 1].t_s : 0;
  const highest = Math.max(0, ...rows.flatMap(row => keys.map(key => row[key] ?? 0)));
  const top = niceTop(highest);
  const x = row => width - (ends - row.t_s) / SHOWN_S * width;
  const y = value => height - 1 - value / top * (height - 18);

  pen.font = "12px system-ui, sans-serif";
  pen.strokeStyle = pen.fillStyle = style.color;
  pen.globalAlpha = 0.25;
  pen.beginPath();
  for (const value of [0, top]) { pen.moveTo(0, y(value)); pen.lineTo(width, y(value)); }
  pen.stroke();
  pen.globalAlpha = 0.7;
  pen.fillText(`${top} ${unit}`, 2, 12);

  keys.forEach((key, place) => {
    const points = rows.filter(row => row[key] !== null && row[key] !== undefined);
    if (!points.length) return;
    pen.strokeStyle = pen.fillStyle = style.accentColor;
    pen.globalAlpha = place ? 0.45 : 1;
    pen.lineWidth = place ? 1 : 2;
    pen.beginPath();
    points.forEach((row, index) => pen[index ? "lineTo" : "moveTo"](x(row), y(row[key])));
    pen.stroke();
    if (place) return;
    pen.lineTo(x(points[points.length - 1]), y(0));
    pen.lineTo(x(points[0]), y(0));
    pen.globalAlpha = 0.15;
    pen.fill();
  });
  pen.globalAlpha = 1;
}

/** The next of 1, 2, 5, 10, 20, 50, … that is not below `value`. */
function niceTop(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= value);
}
