"use strict";
// Shows what comes over the WebSocket, and says back when a picture is on the screen: only then the next one is sent.

const HEAD_BYTES = 12; // camera, number of the frame, age in ms; little-endian
const RETRY_MS = 1500;
const QUIET_S = 3;

const at = id => document.getElementById(id);
const picture = at("picture"), pen = picture.getContext("2d");

let socket = null, retry = 0;
let cameras = [], classes = [], history = [];
let view = { camera: 0, overlay: true, strength: 45, classes: null }; // classes: null until they are known
let drawing = Promise.resolve();
let shown = []; // when the last pictures were drawn
let latest = null; // of the picture on the screen: frame, age_ms

function connect() {
  clearTimeout(retry);
  if (document.hidden || socket) return;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const mine = socket = new WebSocket(`${scheme}//${location.host}/live`);
  mine.binaryType = "arraybuffer";
  mine.onmessage = event => {
    if (mine !== socket) return;
    if (typeof event.data === "string") take(JSON.parse(event.data));
    else drawing = drawing.then(() => draw(event.data)).catch(console.error).then(() => answer(mine));
  };
  mine.onclose = event => {
    if (mine !== socket) return;
    socket = null;
    lost(event);
  };
}

async function lost(event) {
  say(event.reason ? `${event.reason}; trying again …` : "no connection; trying again …");
  retry = setTimeout(connect, RETRY_MS);
  if (event.code !== 1006) return;
  // A WebSocket does not say why it was refused.
  const answer = await fetch("/", { method: "HEAD" }).catch(() => null);
  if (answer && answer.status === 401) {
    clearTimeout(retry);
    say("the token is no longer valid: open the address that edgeseg printed");
  }
}

function take(message) {
  if (message.hello) {
    ({ cameras, classes, history } = message.hello);
    const names = classes.map(each => each.name);
    view.camera = Math.min(view.camera, cameras.length - 1);
    view.classes = view.classes ? view.classes.filter(name => names.includes(name)) : names;
    layOut();
    sendView();
  } else if (message.figures) {
    message.figures.cameras.forEach((row, place) => {
      history[place].push(row);
      if (history[place].length > SHOWN_S) history[place].shift();
    });
    showFigures(message.figures);
  }
}

async function draw(data) {
  const head = new DataView(data, 0, HEAD_BYTES);
  const blob = new Blob([new Uint8Array(data, HEAD_BYTES)], { type: "image/jpeg" });
  const bitmap = await createImageBitmap(blob);
  // The last one of the camera before may still come after a switch.
  if (head.getUint32(0, true) === view.camera) {
    if (picture.width !== bitmap.width || picture.height !== bitmap.height) {
      [picture.width, picture.height] = [bitmap.width, bitmap.height];
    }
    pen.drawImage(bitmap, 0, 0);
    const age = head.getFloat32(8, true);
    latest = { frame: head.getUint32(4, true), age_ms: Number.isNaN(age) ? null : age };
    shown.push(performance.now());
    showLine();
  }
  bitmap.close();
}

function answer(mine) {
  if (mine.readyState === WebSocket.OPEN) mine.send('{"seen": 1}');
}

function sendView() {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ view }));
}

function layOut() {
  at("camera").replaceChildren(...cameras.map((camera, place) => new Option(camera.name, place)));
  at("camera").value = view.camera;
  at("camera-row").hidden = cameras.length < 2;
  const legend = at("classes").querySelector("legend");
  at("classes").replaceChildren(legend, ...classes.map(classSwitch));
  document.title = `edgeseg: ${cameras.map(camera => camera.name).join(", ")}`;
  showSwitches();
}

function classSwitch(info) {
  const label = document.createElement("label"), box = document.createElement("input");
  box.type = "checkbox";
  box.value = info.name;
  box.checked = view.classes.includes(info.name);
  label.append(box, dot(info.color), info.name);
  return label;
}

function dot(color) {
  const make = name => document.createElementNS("http://www.w3.org/2000/svg", name);
  const svg = make("svg"), circle = make("circle");
  svg.setAttribute("viewBox", "0 0 2 2");
  for (const key of ["cx", "cy", "r"]) circle.setAttribute(key, 1);
  circle.setAttribute("fill", color);
  svg.append(circle);
  return svg;
}

function showSwitches() {
  at("strength-value").textContent = `${view.strength} %`;
  at("strength").disabled = at("classes").disabled = !view.overlay;
}

function showLine() {
  const now = performance.now();
  shown = shown.filter(moment => now - moment < 2000);
  const age = !latest || latest.age_ms === null ? "" : `, ${Math.round(latest.age_ms)} ms old`;
  at("line").textContent = latest ? `frame ${latest.frame}${age}; ${(shown.length / 2).toFixed(0)} fps shown here` : "";
}

function showFigures(figures) {
  const row = figures.cameras[view.camera];
  showLine();
  at("fps-now").textContent = `${row.fps.toFixed(1)} fps`;
  at("age-now").textContent = row.age_ms === null ? "–" : `${row.age_ms.toFixed(0)} ms, at most ${row.age_max_ms.toFixed(0)}`;
  at("drops-now").textContent = `${row.dropped}/s, ${row.dropped_in_all} of ${row.frames_in}`;
  drawCharts(history[view.camera]);
  if (row.ended) say("this source has ended");
  else if (row.quiet_s > QUIET_S) say(`no picture for ${row.quiet_s.toFixed(0)} s`);
  else say("");
}

function drawCharts(rows) {
  drawChart(at("fps"), rows, ["fps"], "fps");
  drawChart(at("age"), rows, ["age_ms", "age_max_ms"], "ms");
  drawChart(at("drops"), rows, ["dropped"], "frames/s");
}

function say(text) {
  at("notice").textContent = text;
  at("notice").hidden = !text;
}

at("switches").addEventListener("submit", event => event.preventDefault());
at("switches").addEventListener("input", () => {
  const camera = Number(at("camera").value);
  if (camera !== view.camera) {
    latest = null;
    pen.clearRect(0, 0, picture.width, picture.height);
  }
  const boxes = [...at("classes").querySelectorAll("input")];
  view = {
    camera,
    overlay: at("overlay").checked,
    strength: Number(at("strength").value),
    classes: boxes.filter(box => box.checked).map(box => box.value),
  };
  showSwitches();
  sendView();
  if (history[camera]) drawCharts(history[camera]);
});
// Nothing is drawn for a page in a pocket.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connect();
  else if (socket) {
    const mine = socket;
    socket = null;
    mine.close();
  }
});
connect();
