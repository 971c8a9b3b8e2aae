/** The page of one identity: its graph, who may act as it, what it may do, and its story. */
import { useState } from "../vendor/preact-hooks.mjs";
import { usePolled } from "./api.js";
import { words } from "./format.js";
import { Graph } from "./graph.js";
import { html } from "./html.js";
import { Causes, Command, LastUse, Panel, Risk, State, Tabs, Time } from "./parts.js";

/** Details of the identity `key`. */
export function Identity({ page, identity }) {
  const { data, error } = usePolled(`api/identities/${identity}`);
  const [tab, setTab] = useState("actors");
  if (!data) {
    return html`<main id="main" class="identity" tabindex="-1"><p class=${error ? "empty bad" : "loading"}>${error || "Reading the identity…"}</p></main>`;
  }
  const own = data.parts[0];
  const tabs = [
    { id: "actors", title: "Who may act as it", count: data.actors.length + data.keys.length },
    { id: "permits", title: "What it may do", count: data.permits.length },
    { id: "recommendations", title: "Recommendations", count: data.recommendations.length },
    { id: "story", title: "Story", count: data.story.length },
    { id: "objects", title: "Objects", count: data.parts.length },
  ];
  return html`
    <main id="main" class="identity" tabindex="-1">
      <header class="identity-head">
        <nav aria-label="Path" class="path"><a href="#/">Overview</a><span aria-hidden="true">/</span><span>${data.namespace}</span></nav>
        <div class="identity-title">
          <h1>${data.name}</h1>
          <${State} state=${own.state} reason=${own.state === "Ready" ? "" : own.reason} />
          ${data.risks.map((risk) => html`<${Risk} key=${risk} risk=${risk} />`)}
        </div>
        <p class="identity-facts">
          <span class="mono">${data.email || "no account yet"}</span>
          ${data.displayName && html`<span>${data.displayName}</span>`}
          <span>Project ${data.projectId || data.project}</span>
          ${data.origin && html`<span>${data.origin === "Adopted" ? "Adopted account" : "Created by the operator"}</span>`}
          ${data.lastUsed && html`<${LastUse} day=${data.lastUsed} />`}
        </p>
      </header>
      ${error && html`<p class="banner bad" role="alert">${error}</p>`}
      <${Problems} parts=${data.parts} />
      <${Graph} graph=${data.graph} risks=${page.risks} />
      <${Tabs} label="Details" tabs=${tabs} selected=${tab} onSelect=${setTab} />
      <div id="panel-${tab}" role="tabpanel" aria-labelledby="tab-${tab}" class="tab-panel" tabindex="0">
        ${tab === "actors" && html`<${Actors} actors=${data.actors} keys=${data.keys} />`}
        ${tab === "permits" && html`<${Permits} permits=${data.permits} runs=${data.runs} />`}
        ${tab === "recommendations" && html`<${Recommendations} recommendations=${data.recommendations} />`}
        ${tab === "story" && html`<${Story} chapters=${data.story} />`}
        ${tab === "objects" && html`<${Objects} data=${data} />`}
      </div>
    </main>`;
}

function Problems({ parts }) {
  const urgent = parts.filter((part) => part.state === "NeedsAttention");
  if (!urgent.length) return null;
  return html`
    <ul class="concerns problems" aria-label="Needs a person">
      ${urgent.map((part) => html`
        <li class="concern" key=${`${part.kind} ${part.name}`}>
          <div class="concern-head"><${State} state=${part.state} reason=${part.reason} /><span class="object"><span class="muted">${part.kind}</span> ${part.name}</span></div>
          <p class="message">${part.message}</p>
          <div class="concern-foot"><${Command} text=${part.nextCommand} /></div>
        </li>`)}
    </ul>`;
}

function Grants({ columns, rows, empty }) {
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  return html`
    <div class="table-scroll"><table>
      <thead><tr>${columns.map((column) => html`<th key=${column} scope="col">${column}</th>`)}</tr></thead>
      <tbody>${rows.map((cells, number) => html`<tr key=${number}>${cells.map((cell, position) => html`<td key=${position}>${cell}</td>`)}</tr>`)}</tbody>
    </table></div>`;
}

function Actors({ actors, keys }) {
  const rows = keys.map((each) => [
    html`<${Risk} risk="Keys" />`,
    html`Key <span class="mono">${each.id}</span>`,
    html`authenticates as it<p class="muted"><${LastUse} day=${each.lastUsed} /></p>`,
    "",
    html`${each.where}${each.created && html`<p class="muted">Created <${Time} at=${each.created} /></p>`}`,
    each.declaredBy,
  ]).concat(actors.map((each) => [
    each.risk === "None" ? "" : html`<${Risk} risk=${each.risk} />`,
    each.identity ? html`<a href="#/identities/${each.identity}">${each.identity}</a>` : html`<span class="mono">${each.member}</span>`,
    html`${each.how}${each.condition && html`<span class="muted"> if ${each.condition}</span>`}`,
    html`<span class="mono">${each.role}</span>${each.project && html`<span class="muted"> on Project ${each.project}</span>`}`,
    each.state,
    each.declaredBy,
  ]));
  return html`
    <${Grants} columns=${["Risk", "Principal", "Use", "Role", "State", "Declared by"]} rows=${rows} empty="No object lets a principal act as this identity." />
    <p class="muted note">Only grants that objects declare are shown. The command who-can shows unmanaged and inherited grants too.</p>`;
}

function Permits({ permits, runs }) {
  const rows = permits.map((each) => [
    each.risk === "None" ? "" : html`<${Risk} risk=${each.risk} />`,
    html`<span class="mono">${each.role}</span>${each.condition && html`<span class="muted"> if ${each.condition}</span>`}`,
    each.target,
    each.state,
    each.declaredBy,
  ]);
  return html`
    ${runs.length > 0 && html`<ul class="runs" aria-label="Workloads that run as it">${runs.map((run) => html`<li key=${run} class="chip">${run}</li>`)}</ul>`}
    <${Grants} columns=${["Risk", "Role", "Resource", "State", "Declared by"]} rows=${rows} empty="No object grants this identity a role." />`;
}

function Recommendations({ recommendations }) {
  const rows = recommendations.map((each) => [
    html`${words(each.kind)}<p class="muted">${each.text}</p>`,
    each.role && html`<span class="mono">${each.role}</span>`,
    each.replaceBy.map((role) => html`<p class="mono" key=${role}>${role}</p>`),
    each.source,
    each.since && html`<${Time} at=${each.since} />`,
  ]);
  return html`<${Grants} columns=${["Recommendation", "Role", "Replace by", "Source", "Since"]} rows=${rows} empty="There is no recommendation for this identity." />`;
}

function Story({ chapters }) {
  if (!chapters.length) return html`<p class="empty">Nothing has happened yet.</p>`;
  return html`
    <ol class="story">
      ${chapters.map((each, number) => html`
        <li key=${number} class="tone-${each.tone.toLowerCase()} ${each.upcoming ? "upcoming" : ""}">
          <div class="story-time"><${Time} at=${each.time} /></div>
          <div>
            <p class="story-title">${each.title} <span class="muted">${each.subject}</span></p>
            ${each.text && html`<p class="story-text">${each.text}</p>`}
            ${each.changes.map((change) => html`<p class="change" key=${change}>${change}</p>`)}
            <${Causes} causes=${each.causes} />
          </div>
        </li>`)}
    </ol>`;
}

function Objects({ data }) {
  return html`
    <${Grants} columns=${["Object", "State", "Message"]} empty="" rows=${data.parts.map((part) => [
      html`<span class="muted">${part.kind}</span> ${part.namespace}/${part.name}`,
      html`<${State} state=${part.state} reason=${part.reason} />`,
      html`${part.message}${part.issues.map((issue) => html`<p key=${issue} class="muted">${issue}</p>`)}`,
    ])} />
    <${Panel} id="conditions" title="Conditions">
      <${Grants} columns=${["Condition", "Status", "Reason", "Message"]} empty="None yet." rows=${data.checks.map((check) => [
        check.type,
        html`<span class=${check.good ? "good" : check.status === "Unknown" ? "muted" : "bad"}>${check.status}</span>`,
        words(check.reason),
        check.message,
      ])} />
    </${Panel}>
    <${Panel} id="commands" title="Commands that show more">
      <ul class="commands">${data.commands.map((text) => html`<li key=${text}><${Command} text=${text} /></li>`)}</ul>
    </${Panel}>`;
}
