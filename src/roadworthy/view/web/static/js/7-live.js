// Where the data come from: the inlined snapshot first, then the event stream; polling each 30 s when the stream fails.
// The stream is closed while the page is hidden: a browser has six connections per host for all its tabs.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("roadworthy-token");
if (token) { sessionStorage.setItem("roadworthy-token", token); if (location.hash.includes("token=")) history.replaceState(null, "", location.pathname); }
const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});
const live = { stream: null, failures: 0, poll: null, heard: 0, drawing: false };

function draw() {
  live.drawing = false;
  if (!view) return;
  drawVerdict(view); drawSections(view); drawCharts(view.gauges);
}
function take(snapshot) {
  if (view && snapshot.at < view.at) return;
  view = snapshot;
  live.heard = Date.now();
  if (charts.span === 300) pushPoint(snapshot.at, snapshot.gauges);
  if (!live.drawing && !document.hidden) { live.drawing = true; requestAnimationFrame(draw); }
}
function state() {
  const late = view ? (Date.now() - live.heard) / 1000 : null, node = $("live");
  if (late === null) { css(node, "live"); text(node, "waiting"); }
  else if (late < 4) { css(node, "live on"); text(node, live.stream ? "live" : "polling"); }
  else { css(node, "live late"); text(node, `no news for ${span(late)}`); if (late > 10) { css($("verdict"), "verdict unknown"); text($("verdict").querySelector(".word"), "unknown"); text($("verdict").querySelector(".why"), `The agent has not answered for ${span(late)}; what is below is old. It was: ${view.verdict.status}.`); } }
}
async function fetchOnce() {
  const answer = await fetch("/api/snapshot", { headers: headers() }).catch(() => null);
  if (answer?.ok) { const whole = await answer.json(); take(whole); addEvents(whole.events ?? []); }
  else if (answer && (answer.status === 401 || answer.status === 403)) { css($("live"), "live late"); text($("live"), "no access"); toast("This address needs the token: open the link that `roadworthy run` printed."); }
}
// Server-sent events through fetch, because EventSource cannot carry the token in a header.
async function connect() {
  clearTimeout(live.poll);
  if (document.hidden || live.stream) return;
  const stop = (live.stream = new AbortController());
  try {
    const answer = await fetch("/api/events", { headers: { ...headers(), Accept: "text/event-stream", "Last-Event-ID": String(log.last) }, signal: stop.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { done, value } = await reader.read();
      if (done) break;
      rest += value;
      for (let cut; (cut = rest.indexOf("\n\n")) >= 0; rest = rest.slice(cut + 2)) receive(rest.slice(0, cut));
    }
  } catch (error) { if (error.name === "AbortError") return; }
  if (live.stream === stop) live.stream = null;
  if (document.hidden) return;
  live.failures++;
  live.poll = setTimeout(async () => { await fetchOnce(); connect(); }, Math.min(30000, 1000 * 2 ** Math.min(live.failures, 5)));
}
function receive(block) {
  let kind = "message", data = "";
  for (const line of block.split("\n")) { if (line.startsWith("event:")) kind = line.slice(6).trim(); else if (line.startsWith("data:")) data += line.slice(5); }
  if (!data) return;
  live.failures = 0;
  if (kind === "snapshot") take(JSON.parse(data)); else if (kind === "events") addEvents(JSON.parse(data));
}
function disconnect() { live.stream?.abort(); live.stream = null; clearTimeout(live.poll); }
async function refresh() { await fetchOnce(); await loadHistory().catch(() => null); buildCharts(); if (view) draw(); }
document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else refresh().then(connect); });
addEventListener("pagehide", disconnect);

// Controls.
for (const [label, seconds] of Object.entries(WINDOWS)) $("windows").append(h("button", { type: "button", "aria-pressed": String(seconds === charts.span), on: { click: async (event) => {
  charts.span = seconds;
  for (const other of $("windows").children) other.setAttribute("aria-pressed", String(other === event.target));
  await loadHistory().catch(() => toast("The history could not be read.")); buildCharts(); if (view) draw();
} } }, label));
setInterval(() => { if (charts.span > 300 && !document.hidden) loadHistory().then(() => view && drawCharts(view.gauges)).catch(() => null); }, 30000);
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("roadworthy-theme", dark ? "light" : "dark");
  buildCharts(); if (view) draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { buildCharts(); if (view) draw(); });
if (token) { $("restart").hidden = false; $("restart").addEventListener("click", async () => {
  if (!confirm(`Restart ${view?.app ?? "the program"} now, worker by worker?`)) return;
  const answer = await change("/api/restart", "POST");
  const said = answer ? await answer.json().catch(() => ({})) : { detail: "the agent does not answer" };
  toast(answer?.ok ? "The restart was asked for." : `Refused: ${said.detail ?? said.title ?? answer?.status}`);
}); }

// Start.
if (localStorage.getItem("roadworthy-theme")) document.documentElement.dataset.theme = localStorage.getItem("roadworthy-theme");
const initial = JSON.parse($("initial").textContent);
if (initial) { view = initial; live.heard = Date.now(); drawVerdict(view); }
whenSeen = () => { if (view && !live.drawing) { live.drawing = true; requestAnimationFrame(draw); } };
// The verdict is painted first; everything else is built after that.
requestAnimationFrame(() => setTimeout(() => {
  buildSections();
  if (initial) { addEvents(initial.events ?? []); pushPoint(initial.at, initial.gauges); }
  buildCharts();
  setInterval(state, 1000);
  loadHistory().then(() => { buildCharts(); if (view) draw(); }).catch(() => null).then(connect);
}));
