/** Neighborhood of an identity: columns of cards, with curves between them that follow the layout. */
import { useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.mjs";
import { linkTo } from "./format.js";
import { html } from "./html.js";
import { Breakable } from "./parts.js";

const RIGHT = { Workload: "Runs as it", Identity: "It may act as", Resource: "It has roles on", Rest: "" };

/** The graph of an identity. The tables below it have the same content as text. */
export function Graph({ graph, risks }) {
  const board = useRef(null);
  const [paths, setPaths] = useState([]);
  const [focus, setFocus] = useState("");
  useLayoutEffect(() => {
    const draw = () => setPaths(curves(board.current, graph.edges));
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(board.current);
    return () => observer.disconnect();
  }, [graph]);
  const columns = [...new Set([...graph.nodes.map((node) => node.column), -1])].sort((a, b) => a - b);
  const used = [...new Set(graph.edges.map((edge) => edge.risk))].filter((risk) => risk !== "None");
  return html`
    <figure class="graph" aria-label="Who may act as the identity, and what it reaches">
      <div class="graph-scroll" tabindex="0" role="group" aria-label="Graph; the tables below it list the same">
        <div class="board" ref=${board}>
          <svg class="edges" aria-hidden="true">
            ${paths.map((path) => html`
              <path key=${path.id} d=${path.d} class="edge edge-${path.risk.toLowerCase()} ${path.effective ? "" : "pending"} ${focus && !path.ends.includes(focus) ? "faded" : ""}" />`)}
          </svg>
          ${columns.map((column) => html`
            <${Column} key=${column} column=${column} onFocus=${setFocus}
              nodes=${graph.nodes.filter((node) => node.column === column)} edges=${graph.edges} />`)}
        </div>
      </div>
      <figcaption class="legend">
        ${Object.keys(risks).filter((risk) => used.includes(risk)).map((risk) => html`
          <span key=${risk}><span class="swatch edge-${risk.toLowerCase()}" aria-hidden="true"></span><strong>${risk}</strong> ${risks[risk].toLowerCase()}</span>`)}
      </figcaption>
    </figure>`;
}

function Column({ column, nodes, edges, onFocus }) {
  const groups = column > 0
    ? Object.keys(RIGHT).map((kind) => [RIGHT[kind], nodes.filter((node) => node.kind === kind)])
    : [[column < -1 ? "May act as them" : column < 0 ? "May act as it" : "", nodes]];
  return html`
    <div class="column column-${column === 0 ? "center" : column < 0 ? "left" : "right"}">
      ${groups.filter(([, members]) => members.length || column === -1).map(([title, members]) => html`
        <div class="group" key=${title}>
          ${title && html`<h3>${title}</h3>`}
          ${members.length === 0 && html`<p class="muted">No principal, as far as objects declare.</p>`}
          <ul>${members.map((node) => html`<${Card} key=${node.id} node=${node} edges=${edges} onFocus=${onFocus} />`)}</ul>
        </div>`)}
    </div>`;
}

function Card({ node, edges, onFocus }) {
  const own = edges.filter((edge) => (node.column < 0 ? edge.source : edge.target) === node.id);
  const labels = node.column === 0 || node.kind === "Workload" ? [] : [...new Set(own.flatMap((edge) => edge.labels))];
  const shown = labels.slice(0, 3);
  const content = html`
    <span class="card-type">${node.kind === "Identity" && node.column === 0 ? "Service identity" : node.type}</span>
    <span class="card-title"><${Breakable} text=${node.title} /></span>
    ${node.detail && html`<span class="card-detail"><${Breakable} text=${node.detail} /></span>`}
    ${shown.map((label) => html`<span class="card-label" key=${label}><${Breakable} text=${label} /></span>`)}
    ${labels.length > 3 && html`<span class="card-detail">and ${labels.length - 3} more</span>`}`;
  const attributes = {
    class: `card card-${node.kind.toLowerCase()} edge-${node.risk.toLowerCase()} ${node.column === 0 ? "card-center" : ""}`,
    "data-node": node.id,
    title: `${node.title}${node.detail ? `, ${node.detail}` : ""}`,
    onMouseEnter: () => onFocus(node.column === 0 ? "" : node.id),
    onMouseLeave: () => onFocus(""),
  };
  return node.identity && node.column !== 0
    ? html`<li><a ...${attributes} href=${linkTo(node.identity)} onFocus=${() => onFocus(node.id)} onBlur=${() => onFocus("")}>${content}</a></li>`
    : html`<li><div ...${attributes}>${content}</div></li>`;
}

/** Return the curve of each edge, from the positions of its cards. */
function curves(board, edges) {
  const origin = board.getBoundingClientRect();
  const boxes = new Map([...board.querySelectorAll("[data-node]")].map((card) => [card.dataset.node, card.getBoundingClientRect()]));
  return edges.flatMap((edge) => {
    const from = boxes.get(edge.source), to = boxes.get(edge.target);
    if (!from || !to || edge.source === edge.target) return [];
    const id = `${edge.source} → ${edge.target}`;
    const common = { id, risk: edge.risk, effective: edge.effective, ends: [edge.source, edge.target] };
    const y1 = from.top + from.height / 2 - origin.top, y2 = to.top + to.height / 2 - origin.top;
    if (Math.abs(from.left - to.left) < 8) { // in one column: around its left side
      const x = from.left - origin.left;
      return [{ ...common, d: `M${x},${y1} C${x - 44},${y1} ${x - 44},${y2} ${x},${y2}` }];
    }
    const forward = from.left < to.left;
    const x1 = (forward ? from.right : from.left) - origin.left, x2 = (forward ? to.left : to.right) - origin.left;
    const bend = (x2 - x1) / 2;
    return [{ ...common, d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}` }];
  });
}
