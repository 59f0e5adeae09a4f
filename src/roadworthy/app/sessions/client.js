// roadworthy's session client: opens a WebSocket with a token, reconnects with back-off, resumes with nothing lost.
//
//   import {connect} from "/api/session.js";
//   const talk = connect({path: "/ws", endpoint: "/api/session", onmessage: (data) => …, onstate: (state) => …});
//   talk.send({say: "hello"});
//
// States: "connecting", "open", "waiting" (cut; trying again), "closed". onlost(n) tells that n messages are gone: the
// client came back too late; onnew(why) that a new session had to be made. first() gives what is said first in every new
// session, and by every page that is loaded. Token and place are kept for this tab.

const PROTOCOL = "roadworthy.session";
const LEAST = 250;
const MOST = 15000;
const PATIENCE = 15000;

export function connect(options) {
  const {
    path = "/ws", endpoint = "/api/session", onmessage = () => {}, onstate = () => {}, onlost = () => {},
    onnew = () => {}, first = null, key = "roadworthy.session", storage = window.sessionStorage,
  } = options;
  let kept = load(), socket = null, timer = 0, watch = 0, tries = 0, opening = false, ended = false, ready = false, ping = 20, ackDue = 0;

  function load() {
    try {
      const found = JSON.parse(storage.getItem(key));
      if (found && found.token) return {last: 0, next: 1, unsent: [], ...found};
    } catch { /* nothing there, or nonsense */ }
    return {token: "", last: 0, next: 1, unsent: []};
  }

  function save() {
    try { storage.setItem(key, JSON.stringify(kept)); } catch { /* no room: the tab's memory must do */ }
  }

  async function create(why) {
    const answer = await fetch(endpoint, {method: "POST", cache: "no-store", signal: AbortSignal.timeout(PATIENCE)});
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const made = await answer.json();
    // What was not acknowledged is said again in the new session, from number 1 on.
    const said = kept.unsent.filter((one) => !one.first).map((one) => ({data: one.data}));
    if (first) said.unshift({data: first(), first: true});
    const unsent = said.map((one, at) => ({...one, id: at + 1}));
    kept = {token: made.token, session: made.session_id, last: 0, next: unsent.length + 1, unsent};
    save();
    onnew(why);
  }

  // A refused handshake looks like a broken one in a browser: the endpoint tells which it was.
  async function refused() {
    const answer = await fetch(endpoint, {
      method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PATIENCE),
      headers: {Authorization: `Bearer ${kept.token}`},
    });
    return answer.status === 401;
  }

  async function open() {
    clearTimeout(timer);
    if (ended || opening) return;
    opening = true;
    onstate("connecting");
    try {
      if (!kept.token) await create("first");
      else if (tries > 0 && await refused()) await create("refused");
    } catch {
      again();
      return;
    } finally {
      opening = false;
    }
    if (ended) return;
    const url = new URL(path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    ready = false;
    const made = socket = new WebSocket(url, [PROTOCOL, `token.${kept.token}`]);
    made.onmessage = (event) => { if (made === socket) hear(JSON.parse(event.data)); };
    made.onclose = (event) => { if (made === socket) closed(event); };
    alive(PATIENCE);
  }

  function hear(said) {
    alive();
    if (said.type === "welcome") {
      kept.token = said.token;
      kept.session = said.session_id;
      save();
      ping = said.ping;
      ready = true;
      tell({type: "ready", last: kept.last});
      for (const one of kept.unsent) say(one);
      tries = 0;
      onstate("open", {resumed: said.resumed, session: said.session_id});
    } else if (said.type === "message") {
      if (said.id <= kept.last) return;
      kept.last = said.id;
      save();
      acknowledge();
      onmessage(said.data);
    } else if (said.type === "ack") {
      kept.unsent = kept.unsent.filter((one) => one.id > said.id);
      save();
    } else if (said.type === "ping") {
      tell({type: "pong"});
    } else if (said.type === "lost") {
      onlost(said.messages);
    }
  }

  function acknowledge() {
    if (ackDue) return;
    ackDue = setTimeout(() => { ackDue = 0; tell({type: "ack", id: kept.last}); }, 200);
  }

  function tell(message) {
    if (ready && socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  function say(one) { tell({type: "message", id: one.id, data: one.data}); }

  function put(one) {
    kept.unsent.push({id: kept.next++, ...one});
    save();
    say(kept.unsent[kept.unsent.length - 1]);
  }

  // The browser may notice a dead connection only after minutes: three silent pings are enough.
  function alive(patience = ping * 3000) {
    clearTimeout(watch);
    watch = setTimeout(drop, patience);
  }

  function drop() {
    if (!socket) return;
    const old = socket;
    socket = null;
    old.close();
    again();
  }

  function closed(event) {
    socket = null;
    clearTimeout(watch);
    if (event.code === 4409) {  // another tab took the session up
      ended = true;
      onstate("closed", {why: "replaced"});
      return;
    }
    if (event.code === 4401 || event.code === 4410) kept.token = "";
    again();
  }

  function again() {
    if (ended) return;
    const most = Math.min(MOST, LEAST * 2 ** tries);
    tries += 1;
    onstate("waiting", {tries});
    clearTimeout(timer);
    timer = setTimeout(open, most / 2 + Math.random() * most / 2);
  }

  function now() { if (!ended && !socket) { tries = Math.max(1, Math.min(tries, 2)); open(); } }
  window.addEventListener("online", now);

  if (first && kept.token) put({data: first(), first: true});
  open();
  return {
    get session() { return kept.session; },
    get waiting() { return kept.unsent.length; },
    send(data) { put({data}); },
    // Cut the connection without an end of the session, as a network does: for tests and for trying it out.
    cut: drop,
    close() {
      ended = true;
      clearTimeout(timer);
      clearTimeout(watch);
      window.removeEventListener("online", now);
      if (socket) socket.close(1000);
      onstate("closed", {why: "asked"});
    },
  };
}
