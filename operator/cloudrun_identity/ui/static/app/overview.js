/** The page without a selected identity: what needs a person, drift, and the projects. */
import { count, exact, words } from "./format.js";
import { html } from "./html.js";
import { Causes, Command, IdentityLinks, Panel, State, Time } from "./parts.js";

const DAY = 86400000;

/** Overview of the cluster. */
export function Overview({ page, onFilter }) {
  const recent = page.drift.filter((row) => Date.now() - Date.parse(row.detected) < DAY);
  const risky = (risk) => page.identities.filter((row) => row.risks.includes(risk)).length;
  return html`
    <main id="main" class="overview" tabindex="-1">
      <h1 class="visually-hidden">Overview</h1>
      <div class="tiles">
        <${Tile} number=${page.attention.length} text="need a person" tone=${page.attention.length ? "bad" : "good"} href="#attention" />
        <${Tile} number=${recent.length} text="drifted in a day" tone=${recent.some((row) => !row.repaired) ? "warning" : ""} href="#drift" />
        <${Tile} number=${page.identities.length} text=${page.identities.length === 1 ? "identity" : "identities"} />
        ${[["Public", "public"], ["Owner", "can gain roles"], ["Keys", "have keys"], ["Tokens", "lend tokens"]].map(([risk, text]) => html`
          <${Tile} key=${risk} number=${risky(risk)} text=${text} tone="risk-${risk.toLowerCase()}" title=${page.risks[risk]}
            onClick=${() => onFilter({ risk, text: "", project: "" })} />`)}
      </div>
      <${Attention} page=${page} />
      <${DriftHistory} rows=${page.drift} />
      <${Projects} projects=${page.projects} onFilter=${onFilter} />
      ${page.advice.length > 0 && html`<${Advice} concerns=${page.advice} />`}
    </main>`;
}

function Tile({ number, text, tone = "", href, onClick, title }) {
  const content = html`<strong>${number.toLocaleString()}</strong><span>${text}</span>`;
  const style = `tile ${number ? `tile-${tone}` : "tile-zero"}`;
  if (onClick) return html`<button class=${style} title=${title} onClick=${onClick}>${content}</button>`;
  if (href) return html`<a class=${style} href=${href} onClick=${(event) => scrollTo(event, href)}>${content}</a>`;
  return html`<div class=${style}>${content}</div>`;
}

function scrollTo(event, href) {
  event.preventDefault(); // the fragment of the page names what it shows
  const heading = document.getElementById(href.slice(1));
  heading.scrollIntoView({ block: "start" });
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function Attention({ page }) {
  const { attention, observed } = page;
  return html`
    <${Panel} id="attention" title="Needs a person" note=${attention.length ? "The operator cannot continue with these objects." : ""}>
      ${attention.length === 0 && html`<p class="empty good">Nothing needs a person.</p>`}
      <ul class="concerns">${attention.map((each) => html`<${Concern} key=${name(each)} concern=${each} />`)}</ul>
      ${observed.length > 0 && html`
        <details>
          <summary>${count(observed.length, "object")} that wait, are suspended, or are only observed</summary>
          <ul class="concerns">${observed.map((each) => html`<${Concern} key=${name(each)} concern=${each} />`)}</ul>
        </details>`}
    </${Panel}>`;
}

function Concern({ concern }) {
  return html`
    <li class="concern">
      <div class="concern-head">
        <${State} state=${concern.state} reason=${concern.reason} />
        <span class="object"><span class="muted">${concern.kind}</span> ${concern.namespace && `${concern.namespace}/`}${concern.name}</span>
        ${concern.since && html`<span class="muted"><${Time} at=${concern.since} /></span>`}
      </div>
      <p class="message">${concern.message}</p>
      <div class="concern-foot"><${Command} text=${concern.nextCommand} /><${IdentityLinks} keys=${concern.identities} /></div>
    </li>`;
}

function DriftHistory({ rows }) {
  return html`
    <${Panel} id="drift" title="Drift" note="Changes in Google Cloud that the operator did not make.">
      ${rows.length === 0 && html`<p class="empty good">No drift was found.</p>`}
      <ul class="drift">
        ${rows.map((row) => html`
          <li key=${`${row.kind} ${name(row)} ${row.detected}`} class=${row.repaired ? "repaired" : "open"}>
            <div class="drift-time"><${Time} at=${row.detected} /></div>
            <div class="drift-text">
              <div class="concern-head">
                <span class="object"><span class="muted">${row.kind}</span> ${name(row)}</span>
                <${DriftState} row=${row} />
                ${row.isLatest && row.count > 1 && html`<span class="muted">${row.count} times in all</span>`}
              </div>
              ${row.changes.map((change) => html`<p class="change" key=${change}>${change}</p>`)}
              <${Causes} causes=${row.causes} />
              <div class="concern-foot"><${IdentityLinks} keys=${row.identities} /></div>
            </div>
          </li>`)}
      </ul>
    </${Panel}>`;
}

function DriftState({ row }) {
  if (row.repaired) {
    const seconds = Math.max(0, Math.round((Date.parse(row.repaired) - Date.parse(row.detected)) / 1000));
    return html`<span class="state state-ready" title=${exact(row.repaired)}><span class="dot" aria-hidden="true"></span>Repaired ${seconds ? `after ${seconds} s` : "at once"}</span>`;
  }
  return row.isLatest
    ? html`<span class="state state-observed"><span class="dot" aria-hidden="true"></span>Not repaired</span>`
    : null;
}

function Projects({ projects, onFilter }) {
  return html`
    <${Panel} id="projects" title="Projects">
      ${projects.length === 0 && html`<p class="empty">There is no ManagedProject.</p>`}
      <ul class="projects">
        ${projects.map((each) => html`
          <li key=${each.name} class="project">
            <button onClick=${() => onFilter({ project: each.name, text: "", risk: "" })} title="Show the identities of the project">
              <span class="project-name">${each.name}</span>
              ${each.projectId !== each.name && html`<span class="muted">${each.projectId}</span>`}
              <${State} state=${each.state} reason=${each.state === "Ready" ? "" : each.reason} />
              <span class="facts">
                <span>${count(each.identities, "identity", "identities")}</span>
                ${each.needsAttention > 0 && html`<span class="bad">${each.needsAttention} need a person</span>`}
                ${each.onDefaultIdentity > 0 && html`<span class="warning">${count(each.onDefaultIdentity, "workload")} on the default identity</span>`}
                ${each.orphans > 0 && html`<span class="warning">${count(each.orphans, "orphan")}</span>`}
              </span>
              ${each.changeFeed && html`<${ChangeFeed} check=${each.changeFeed} />`}
            </button>
          </li>`)}
      </ul>
    </${Panel}>`;
}

function ChangeFeed({ check }) {
  const tone = check.good ? "good" : check.status === "Unknown" ? "" : "warning";
  return html`
    <span class="facts change-feed">
      <span>Change feed</span><span class=${tone}>${words(check.reason)}</span>
      ${check.message && html`<span class="change-feed-message">${check.message}</span>`}
    </span>`;
}

function Advice({ concerns }) {
  return html`
    <${Panel} id="advice" title="Advice" note="These objects are Ready, and could be better.">
      <ul class="advice">
        ${concerns.map((each) => html`
          <li key=${`${each.kind} ${name(each)}`}>
            <span class="object"><span class="muted">${each.kind}</span> ${name(each)}</span>
            ${each.issues.map((issue) => html`<p key=${issue}>${issue}</p>`)}
          </li>`)}
      </ul>
    </${Panel}>`;
}

function name(each) {
  return each.namespace ? `${each.namespace}/${each.name}` : each.name;
}
