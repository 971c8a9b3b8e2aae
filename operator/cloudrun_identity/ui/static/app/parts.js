/** Small parts that several views use. */
import { useEffect, useState } from "../vendor/preact-hooks.mjs";
import { exact, relative, words } from "./format.js";
import { html } from "./html.js";

const TICK = 5000;

/** A time that stays relative to now. */
export function Time({ at }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), TICK);
    return () => clearInterval(timer);
  }, []);
  return html`<time datetime=${at} title=${exact(at)}>${relative(at)}</time>`;
}

/** A long name that can break after its punctuation, and is copied without changes. */
export function Breakable({ text }) {
  return text.split(/(?<=[.@/:_-])/).map((part) => html`${part}<wbr />`);
}

/** The name of a risk, in its color. */
export function Risk({ risk }) {
  return html`<span class="risk risk-${risk.toLowerCase()}">${risk}</span>`;
}

/** A state as a dot and a word. */
export function State({ state, reason }) {
  return html`
    <span class="state state-${state.toLowerCase()}">
      <span class="dot" aria-hidden="true"></span>${reason ? words(reason) : words(state)}
    </span>`;
}

/** A command with a button that copies it. */
export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return; // the reader can still select the text
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  }
  return html`
    <span class="command">
      <code>${text}</code>
      <button onClick=${copy} aria-label="Copy the command ${text}">${copied ? "Copied" : "Copy"}</button>
    </span>`;
}

/** The calls that caused drift, as far as the change feed reported them: who, how and when. */
export function Causes({ causes }) {
  return causes.map((each) => html`
    <p class="cause" key=${`${each.method} ${each.time}`}>
      <span class="muted">Caused by</span>
      ${each.principal && html`<strong>${each.principal}</strong>`}
      <span class="mono">${each.method}</span>
      ${each.userAgent && html`<span class="muted">${each.userAgent}</span>`}
      <span class="muted"><${Time} at=${each.time} /></span>
    </p>`);
}

/** A day of a last use, as Google reports it. */
export function LastUse({ day }) {
  return html`<span title="Date in US Pacific time, as Google reports it">${day ? `Last used ${day}` : "Last use not known"}</span>`;
}

/** Links to the identities that an object is about. */
export function IdentityLinks({ keys }) {
  const shown = keys.slice(0, 3);
  return shown.map((key) => html`<a class="chip" href="#/identities/${key}" key=${key}>${key}</a>`)
    .concat(keys.length > 3 ? html`<span class="muted">and ${keys.length - 3} more</span>` : []);
}

/** A titled part of the page. */
export function Panel({ title, note, id, children }) {
  return html`
    <section class="panel" aria-labelledby=${id}>
      <header><h2 id=${id}>${title}</h2>${note && html`<p class="muted">${note}</p>`}</header>
      ${children}
    </section>`;
}

/** Tabs: the arrow keys select one, as the ARIA practices describe. */
export function Tabs({ label, tabs, selected, onSelect }) {
  function onKeyDown(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const position = tabs.findIndex((tab) => tab.id === selected);
    const next = tabs[(position + step + tabs.length) % tabs.length].id;
    onSelect(next);
    document.getElementById(`tab-${next}`).focus();
  }
  return html`
    <div class="tabs" role="tablist" aria-label=${label} onKeyDown=${onKeyDown}>
      ${tabs.map((tab) => html`
        <button key=${tab.id} id="tab-${tab.id}" role="tab" aria-controls="panel-${tab.id}"
          aria-selected=${String(tab.id === selected)} tabindex=${tab.id === selected ? 0 : -1}
          onClick=${() => onSelect(tab.id)}>
          ${tab.title}${tab.count !== undefined && html`<span class="number">${tab.count}</span>`}
        </button>`)}
    </div>`;
}
