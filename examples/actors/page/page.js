// The page: three characters, one conversation with each, answers as they come. All text is set as text, never as markup.

import {connect} from "/api/session.js";

const $ = (id) => document.getElementById(id);
const lines = $("lines"), text = $("text"), send = $("send"), state = $("state"), note = $("note");
const cast = new Map();
const going = new Map();
let chosen = "", answering = 0, known = false, notice = "";

const MARKS = {
  maren: "M24 38l1.5-16h5L32 38M24.5 18h7v4h-7zM28 13l4 5h-8zM36 17l5-3M36 21h6M20 17l-5-3M20 21h-6",
  tobias: "M18 34c3-3 3-7 3-11 0-5 3-8 7-8s7 3 7 8c0 4 0 8 3 11zM25 37c1 2 5 2 6 0M28 12v3",
  ines: "M28 13v4M28 39v4M13 28h4M39 28h4M28 19l4 9-4 9-4-9zM24 28h8M19 19l2 2M37 37l-2-2M37 19l-2 2M19 37l2-2",
};

function element(name, content = "", kind = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = content;
  return made;
}

function mark(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 56 56");
  svg.setAttribute("aria-hidden", "true");
  const face = document.createElementNS(svg.namespaceURI, "circle");
  for (const [name, value] of Object.entries({cx: 28, cy: 28, r: 27, class: "face"})) face.setAttribute(name, value);
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", MARKS[id] || "M18 28h20M28 18v20");
  path.setAttribute("class", "mark");
  svg.append(face, path);
  return svg;
}

function choose(id) {
  chosen = id;
  for (const [other, one] of cast) one.button.setAttribute("aria-pressed", other === id);
  for (const line of lines.querySelectorAll("[data-with]")) line.hidden = line.dataset.with !== id;
  text.placeholder = `Say something to ${cast.get(id).name.split(" ")[0]}`;
  toEnd(true);
}

function trusts(id, trust) {
  const bar = cast.get(id).bar;
  bar.title = trust === null ? "You have not talked yet" : `Trust: ${trust} of 10`;
  bar.replaceChildren(...Array.from({length: 10}, (_, at) => element("i", "", at < (trust ?? 0) ? "on" : "")));
}

function enter(characters) {
  $("cast").replaceChildren();
  cast.clear();
  for (const one of characters) {
    const button = element("button", "", "who");
    button.type = "button";
    const bar = element("span", "", "trust");
    button.append(mark(one.id), element("b", one.name), element("small", one.role), bar);
    button.onclick = () => { choose(one.id); text.focus(); };
    cast.set(one.id, {...one, button, bar});
    $("cast").append(button);
    trusts(one.id, one.trust);
  }
}

function add(who, by, content, kind = "") {
  const line = element("div", "", `line ${kind}`);
  line.dataset.with = who;
  line.hidden = who !== chosen;
  const said = element("p", content);
  line.append(element("div", by, "by"), said);
  lines.append(line);
  toEnd();
  return {line, said};
}

function about(line, done) {
  const told = element("div", "", "about");
  if (done.label) told.append(element("span", done.label, "label"));
  else if (done.model) told.append(element("span", done.model));
  if (done.cached) told.append(element("span", "from the cache"));
  if (done.ms !== undefined) told.append(element("span", done.ms < 1000 ? `${done.ms} ms` : `${(done.ms / 1000).toFixed(1)} s`));
  line.append(told);
}

function toEnd(always = false) {
  const near = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 160;
  if (always || near) lines.scrollTop = lines.scrollHeight;
}

function begin(number, who, content = "") {
  const made = add(who, cast.get(who).name, content, "going");
  going.set(number, made);
  busy(number);
}

function busy(number) {
  answering = number;
  label();
}

// What is said in the midst of an answer ends it; with nothing to say, the button only ends it.
function label() { send.textContent = answering && !text.value.trim() ? "Stop" : "Say"; }

function fill(said) {
  enter(said.characters);
  $("place").textContent = said.place;
  lines.replaceChildren();
  going.clear();
  busy(0);
  for (const one of cast.values()) add(one.id, one.name, one.greeting);
  for (const one of said.history) {
    if (!cast.has(one.character)) continue;
    add(one.character, "You", one.said, "me");
    const {line} = add(one.character, cast.get(one.character).name, one.text);
    about(line, {model: one.model, label: one.complete ? "" : "cut off"});
  }
  if (said.answering) {
    add(said.answering.character, "You", said.answering.said, "me");
    begin(said.answering.answer, said.answering.character, said.answering.text);
  }
  if (notice) told(notice);
  notice = "";
  const last = said.answering || said.history[said.history.length - 1];
  choose(cast.has(chosen) ? chosen : last ? last.character : cast.keys().next().value);
}

function hear(said) {
  if (said.player) {
    localStorage.setItem("actors.player", said.player);
    known = true;
    fill(said);
  } else if (said.done) {
    const one = going.get(said.answer);
    if (!one) return;
    going.delete(said.answer);
    one.line.classList.remove("going");
    if (!one.said.textContent) one.said.textContent = "…";
    about(one.line, said.done);
    if (said.done.trust !== undefined && said.done.trust !== null) trusts(one.line.dataset.with, said.done.trust);
    if (answering === said.answer) busy(0);
    toEnd();
  } else if (said.chunk !== undefined) {
    const one = going.get(said.answer);
    if (one) { one.said.textContent += said.chunk; toEnd(); }
  } else if (said.answer && known) {
    for (const line of lines.querySelectorAll(".unsent")) line.classList.remove("unsent");
    if (!going.has(said.answer)) begin(said.answer, said.character);
  }
}

function told(content) {
  const line = element("div", content, "told");
  lines.append(line);
  toEnd();
}

const WORDS = {open: "connected", connecting: "connecting", waiting: "cut, trying again", closed: "closed"};
const talk = connect({
  onmessage: hear,
  onstate(now, more = {}) {
    state.dataset.state = now;
    state.querySelector("span").textContent = now === "open" && more.resumed && known ? "resumed" : WORDS[now];
    if (now === "closed" && more.why === "replaced") told("The conversation goes on in another tab.");
    note.textContent = now === "waiting" ? "The connection is cut. What you say is kept and sent when it is back." : "";
  },
  onlost: (n) => told(`${n} pieces came too late to be kept.`),
  onnew(why) { if (why === "refused") notice = "The old session is over; a new one has begun."; },
  first: () => ({hello: {player: localStorage.getItem("actors.player") || ""}}),
});

$("say").onsubmit = (event) => {
  event.preventDefault();
  const content = text.value.trim();
  if (answering && !content) { talk.send({cancel: answering}); return; }
  if (!content || !chosen) return;
  add(chosen, "You", content, "me unsent");
  talk.send({say: content, to: chosen});
  text.value = "";
  size();
  label();
  toEnd(true);
};
text.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("say").requestSubmit(); }
};
function size() { text.style.height = "auto"; text.style.height = `${text.scrollHeight}px`; }
text.oninput = () => { size(); label(); };
state.onclick = () => talk.cut();
