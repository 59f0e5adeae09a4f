// Figures as people read them. What was not measured is an en dash, never 0.
const none = "–";
const round = (n) => (Math.abs(n) >= 99.95 ? n.toFixed(0) : Math.abs(n) >= 9.995 ? n.toFixed(1) : Math.abs(n) >= 0.9995 ? n.toFixed(2) : n === 0 ? "0" : Math.abs(n) >= 0.01 ? n.toFixed(3) : n.toPrecision(2));
const scaled = (n, steps) => { for (const [size, unit] of steps) if (Math.abs(n) >= size) return [round(n / size), unit]; const last = steps[steps.length - 1]; return [round(n / last[0]), last[1]]; };
const parts = {
  seconds: (n) => (n === 0 ? ["0", "ms"] : scaled(n, [[3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]])),
  bytes: (n) => scaled(n, [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]]),
  percent: (n) => [round(n), "%"],
  rate: (n) => scaled(n, [[1e6, "M/s"], [1e4, "k/s"], [1, "/s"]]),
  count: (n) => (Math.abs(n) >= 1e6 ? scaled(n, [[1e9, "G"], [1e6, "M"]]) : [Number.isInteger(n) ? n.toLocaleString("en") : round(n), ""]),
  fps: (n) => [n.toFixed(1), "fps"],
};
const known = (n) => n !== null && n !== undefined && Number.isFinite(n);
const show = (n, kind) => { if (!known(n)) return none; const [value, unit] = parts[kind](n); return unit ? `${value}\u202f${unit}` : value; };
const span = (s) => { if (!known(s)) return none; s = Math.max(0, s); if (s > 0 && s < 0.95) return show(s, "seconds"); if (s < 10) return `${s.toFixed(1)} s`; if (s < 90) return `${Math.round(s)} s`; const m = s / 60; if (m < 90) return `${Math.round(m)} min`; const h = m / 60; return h < 48 ? `${h.toFixed(1)} h` : `${(h / 24).toFixed(1)} d`; };
const clock = (at) => (known(at) ? new Date(at * 1000).toLocaleTimeString("en-GB") : none);
const words = (name) => String(name ?? "").replaceAll("_", " ");
