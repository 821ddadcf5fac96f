"use strict";
// The answers: unpacked once the page stands, filtered in memory, shown a page at a time. Texts of models become text nodes.
(() => {
  const source = document.getElementById("answers-data");
  if (!source) return;
  const PAGE = 25;
  const id = (name) => document.getElementById(name);
  const [loading, list, found, detail] = [id("loading"), id("list").tBodies[0], id("found"), id("detail")];
  const names = ["model", "type", "state", "scorer", "low", "high", "order", "text"];
  const field = Object.fromEntries(names.map((name) => [name, id(`f-${name}`)]));
  let data, texts, rows = [], page = 0, chosen = null;

  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };
  const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const count = (value) => value.toLocaleString("en-US");
  // Fields of a row and of a task, by their place in the packed arrays.
  const view = ([task, model, output, error, tokens, finish, latency, scores, words]) =>
    ({ task, model, output, error, tokens, finish, latency, scores, words });

  const unpack = async () => {
    const bytes = Uint8Array.from(atob(source.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const unpacked = JSON.parse(await new Response(stream).text());
    source.textContent = "";
    return unpacked;
  };

  // Text to search in, made when somebody searches first.
  const searchable = () => {
    texts ??= data.rows.map((row) => {
      const [name, , input, references] = data.tasks[row[0]];
      return [name, input, ...references, row[2] ?? "", row[3] ?? ""].join("\n").toLowerCase();
    });
    return texts;
  };

  const filter = () => {
    const [model, type, state, order] = [field.model.value, field.type.value, field.state.value, field.order.value];
    const scorer = Number(field.scorer.value);
    const bound = (input, otherwise) => (input.value === "" ? otherwise : Number(input.value));
    const [low, high] = [bound(field.low, null), bound(field.high, null)];
    const text = field.text.value.trim().toLowerCase();
    const haystack = text ? searchable() : null;
    rows = [];
    data.rows.forEach((row, index) => {
      if (model !== "" && row[1] !== Number(model)) return;
      if (type !== "" && data.tasks[row[0]][1] !== Number(type)) return;
      const failed = row[2] === null || row[3] !== null;
      const score = row[7][scorer] ?? null;
      if (state === "ok" && failed) return;
      if (state === "failed" && !failed) return;
      if (state === "unscored" && score !== null) return;
      if (low !== null && (score === null || score < low)) return;
      if (high !== null && (score === null || score > high)) return;
      if (haystack && !haystack[index].includes(text)) return;
      rows.push(index);
    });
    const score = (index) => data.rows[index][7][scorer] ?? null;
    // Rows without a score come last, whichever way.
    const by = (sign) => (a, b) => {
      const [x, y] = [score(a), score(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (x - y);
    };
    if (order === "down") rows.sort(by(-1));
    if (order === "up") rows.sort(by(1));
    if (order === "long") rows.sort((a, b) => (data.rows[b][2]?.length ?? 0) - (data.rows[a][2]?.length ?? 0));
    page = 0;
    draw();
  };

  const draw = () => {
    const scorer = Number(field.scorer.value);
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    found.textContent = `${count(rows.length)} of ${count(data.rows.length)} answers`;
    id("list").tHead.rows[0].cells[3].textContent = data.scorers[scorer] ?? "Score";
    list.replaceChildren(...rows.slice(page * PAGE, (page + 1) * PAGE).map((index) => {
      const row = view(data.rows[index]);
      const line = make("tr");
      line.dataset.row = index;
      if (index === chosen) line.className = "open";
      const task = make("td");
      task.append(make("button", data.tasks[row.task][0]));
      const failed = row.output === null;
      const answer = failed ? `failed: ${row.error ?? "no answer"}` : row.output;
      line.append(task, make("td", data.models[row.model]), make("td", answer.slice(0, 200), failed ? "failed" : ""),
        make("td", number(row.scores[scorer], 2), "number"));
      return line;
    }));
    id("page").textContent = `page ${count(page + 1)} of ${count(pages)}`;
    id("back").disabled = page === 0;
    id("next").disabled = page + 1 >= pages;
  };

  const labelled = (label, text) => [make("div", label, "label"), make("div", text, "text")];

  const card = (index) => {
    const row = view(data.rows[index]);
    const box = make("div", undefined, index === chosen ? "card chosen" : "card");
    box.append(make("h4", data.models[row.model]));
    if (row.output !== null) box.append(make("div", row.output === "" ? "(empty)" : row.output, "text"));
    if (row.error !== null) box.append(make("p", row.error, "failed"));
    const scores = make("div", undefined, "scores");
    data.scorers.forEach((name, place) => {
      const item = make("span", `${name} `);
      item.append(make("b", number(row.scores[place], 2)));
      scores.append(item);
    });
    box.append(scores);
    const facts = [
      row.tokens === null ? null : `${count(row.tokens)} tokens`,
      row.finish === null ? null : `ended by ${row.finish}`,
      row.latency === null ? null : `${count(row.latency)} ms`,
    ].filter((fact) => fact !== null);
    if (facts.length) box.append(make("p", facts.join(", "), "small"));
    if (row.words !== null) box.append(...labelled("The judge's words", row.words));
    return box;
  };

  const open = (index) => {
    chosen = index;
    draw();
    const place = data.rows[index][0];
    const [name, type, input, references] = data.tasks[place];
    const cards = make("div", undefined, "cards");
    data.rows.forEach((row, other) => { if (row[0] === place) cards.append(card(other)); });
    detail.replaceChildren(
      make("h3", `${name} (${data.types[type]})`),
      ...labelled("Asked", input),
      ...labelled(references.length > 1 ? `References (${references.length})` : "Reference", references.join("\n")),
      make("div", "Answers; scores are 0 to 10", "label"),
      cards,
    );
    detail.focus({ preventScroll: true });
    detail.scrollIntoView({ block: "nearest" });
  };

  const start = () => {
    const options = (select, values) => values.forEach((value, place) => select.append(new Option(value, place)));
    options(field.model, data.models);
    options(field.type, data.types);
    options(field.scorer, data.scorers);
    if (!data.scorers.length) field.scorer.append(new Option("none", 0));
    let wait;
    id("filters").addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(filter, 120); });
    id("filters").addEventListener("reset", () => setTimeout(filter));
    id("filters").addEventListener("submit", (event) => event.preventDefault());
    id("back").addEventListener("click", () => { page -= 1; draw(); });
    id("next").addEventListener("click", () => { page += 1; draw(); });
    list.addEventListener("click", (event) => {
      const line = event.target.closest("tr");
      if (line) open(Number(line.dataset.row));
    });
    filter();
    loading.remove();
    id("browser").hidden = false;
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  };

  const failed = (error) => {
    loading.textContent = `The answers cannot be shown here (${error}); they are in metrics.parquet.`;
  };
  // After the page is drawn: nobody waits for the answers to see the figures.
  requestAnimationFrame(() => setTimeout(() => {
    unpack().then((unpacked) => { data = unpacked; start(); }).catch(failed);
  }));
})();
