/** The list of identities: filtered, and drawn only as far as it is visible. */
import { useEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.mjs";
import { count, linkTo } from "./format.js";
import { html } from "./html.js";
import { Risk } from "./parts.js";

const ROW = 62; // height of a row, in pixels, as in page.css
const MARGIN = 5; // rows that are drawn above and below the visible ones
const RISKS = ["Public", "Owner", "Keys", "Tokens"];

function matches(row, text, project, risk) {
  if (project && row.project !== project) return false;
  if (risk === "attention" ? row.state !== "NeedsAttention" : risk && !row.risks.includes(risk)) return false;
  return !text || `${row.key} ${row.email}`.toLowerCase().includes(text);
}

/** Search field, filters and list. `selected` is the key of the identity that the page shows. */
export function Identities({ page, selected, filter, onFilter }) {
  const { text, project, risk } = filter;
  const rows = useMemo(
    () => page.identities.filter((row) => matches(row, text.trim().toLowerCase(), project, risk)),
    [page.identities, text, project, risk],
  );
  const counts = useMemo(
    () => Object.fromEntries(RISKS.map((each) =>
      [each, page.identities.filter((row) => row.risks.includes(each)).length])),
    [page.identities],
  );
  const attention = page.identities.filter((row) => row.state === "NeedsAttention").length;
  const chip = (id, title, number) => html`
    <button key=${id} class="filter filter-${id.toLowerCase()}" aria-pressed=${String(risk === id)}
      title=${page.risks[id] || "Something needs a person"} onClick=${() => onFilter({ risk: risk === id ? "" : id })}>
      ${title} <span class="number">${number}</span>
    </button>`;
  return html`
    <nav class="sidebar" aria-label="Identities">
      <div class="filters">
        <label class="search">
          <span class="visually-hidden">Find an identity</span>
          <svg viewBox="0 0 24 24" aria-hidden="true"><path d="m20 20-4.500-4.500M17 10.500a6.500 6.500 0 1 1-13 0 6.500 6.500 0 0 1 13 0Z" /></svg>
          <input id="search" type="search" placeholder="Find an identity" autocomplete="off" spellcheck=${false}
            value=${text} onInput=${(event) => onFilter({ text: event.target.value })}
            onKeyDown=${(event) => event.key === "ArrowDown" && document.getElementById("identities").focus()} />
          <kbd aria-hidden="true">/</kbd>
        </label>
        ${page.projects.length > 1 && html`
          <label class="select">
            <span class="visually-hidden">Project</span>
            <select value=${project} onChange=${(event) => onFilter({ project: event.target.value })}>
              <option value="">All projects</option>
              ${page.projects.map((each) => html`<option key=${each.name} value=${each.name}>${each.name}</option>`)}
            </select>
          </label>`}
        <div class="filter-row" role="group" aria-label="Show only">
          ${attention > 0 && chip("attention", "Attention", attention)}
          ${RISKS.filter((each) => counts[each]).map((each) => chip(each, each, counts[each]))}
        </div>
      </div>
      <p class="list-count" role="status">
        ${rows.length === page.identities.length
          ? count(rows.length, "identity", "identities")
          : `${rows.length.toLocaleString()} of ${count(page.identities.length, "identity", "identities")}`}
      </p>
      <${List} rows=${rows} selected=${selected} />
    </nav>`;
}

/** A listbox of any length: the arrow keys move, Enter opens. */
function List({ rows, selected }) {
  const box = useRef(null);
  const [active, setActive] = useState(0);
  const [view, setView] = useState({ top: 0, height: 800 });
  useEffect(() => setActive((known) => Math.max(0, Math.min(known, rows.length - 1))), [rows.length]);
  useEffect(() => {
    const element = box.current;
    const measure = () => setView({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, []);
  function moveTo(position) {
    const next = Math.max(0, Math.min(position, rows.length - 1));
    const element = box.current;
    setActive(next);
    if (next * ROW < element.scrollTop) element.scrollTop = next * ROW;
    const bottom = (next + 1) * ROW - element.clientHeight;
    if (bottom > element.scrollTop) element.scrollTop = bottom;
  }
  function onKeyDown(event) {
    const page = Math.max(1, Math.floor(view.height / ROW) - 1);
    const target = {
      ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page,
      Home: 0, End: rows.length - 1,
    }[event.key];
    if (target !== undefined) {
      event.preventDefault();
      moveTo(target);
    } else if ((event.key === "Enter" || event.key === " ") && rows[active]) {
      event.preventDefault();
      location.hash = linkTo(rows[active].key);
    }
  }
  const first = Math.max(0, Math.floor(view.top / ROW) - MARGIN);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + MARGIN);
  const current = active >= first && active < last ? `option-${active}` : undefined;
  return html`
    <div id="identities" class="list" role="listbox" tabindex="0" ref=${box} onKeyDown=${onKeyDown}
      aria-label="Identities" aria-activedescendant=${current}>
      <div class="list-space" role="presentation" style=${{ height: `${rows.length * ROW}px` }}>
        ${rows.slice(first, last).map((row, offset) => html`
          <${Row} key=${row.key} row=${row} position=${first + offset} size=${rows.length}
            isActive=${first + offset === active} isSelected=${row.key === selected} onPick=${moveTo} />`)}
      </div>
      ${rows.length === 0 && html`<p class="empty">No identity matches.</p>`}
    </div>`;
}

function Row({ row, position, size, isActive, isSelected, onPick }) {
  const [namespace, name] = row.key.split("/");
  function open() {
    onPick(position);
    location.hash = linkTo(row.key);
  }
  return html`
    <div id="option-${position}" role="option" class="row ${isActive ? "active" : ""}" data-key=${row.key}
      aria-selected=${String(isSelected)} aria-setsize=${size} aria-posinset=${position + 1}
      style=${{ top: `${position * ROW}px` }} onClick=${open}>
      <span class="dot state-${row.state.toLowerCase()}" title=${row.reason} aria-hidden="true"></span>
      <span class="row-text">
        <span class="row-name">${name}${row.state !== "Ready" && html`<span class="visually-hidden">, ${row.reason}</span>`}</span>
        <span class="row-detail">${namespace} · ${row.project}</span>
      </span>
      <span class="row-risks">${row.risks.slice(0, 2).map((risk) => html`<${Risk} key=${risk} risk=${risk} />`)}
        ${row.risks.length > 2 && html`<span class="muted" title=${row.risks.slice(2).join(", ")}>+${row.risks.length - 2}</span>`}
      </span>
    </div>`;
}
