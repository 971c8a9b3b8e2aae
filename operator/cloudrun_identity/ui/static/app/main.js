/** The page: route, live state, and the frame around the views. */
import { render } from "../vendor/preact.mjs";
import { useCallback, useEffect, useRef, useState } from "../vendor/preact-hooks.mjs";
import { usePolled } from "./api.js";
import { html } from "./html.js";
import { Identities } from "./identities.js";
import { Identity } from "./identity.js";
import { Overview } from "./overview.js";
import { ThemeButton, applyTheme } from "./theme.js";

/** Return the identity that the fragment names, as NAMESPACE/NAME, or "". */
function route() {
  const found = location.hash.match(/^#\/identities\/([^/]+\/[^/]+)$/);
  return found ? decodeURIComponent(found[1]) : "";
}

function useRoute() {
  const [key, setKey] = useState(route);
  useEffect(() => {
    const change = () => setKey(route());
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return key;
}

/** "/" moves to the search field, as on many sites. */
function useSearchKey() {
  useEffect(() => {
    const onKeyDown = (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, select, textarea")) return;
      event.preventDefault();
      document.getElementById("search")?.focus();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}

/** Return a sentence for screen readers about what changed between two states. */
function useNews(page) {
  const known = useRef(null);
  const [news, setNews] = useState("");
  useEffect(() => {
    const before = known.current;
    known.current = page;
    if (!before || !page) return;
    const drifts = new Map(before.drift.map((row) => [`${row.kind} ${row.namespace}/${row.name}`, row]));
    const changed = page.drift.filter((row) => row.isLatest).filter((row) => {
      const old = drifts.get(`${row.kind} ${row.namespace}/${row.name}`);
      return !old || old.detected !== row.detected || Boolean(old.repaired) !== Boolean(row.repaired);
    });
    if (changed.length) {
      setNews(changed.map((row) => `Drift of ${row.kind} ${row.name} ${row.repaired ? "repaired" : "detected"}`).join(". "));
    } else if (before.attention.length !== page.attention.length) {
      setNews(`${page.attention.length} objects need a person`);
    }
  }, [page]);
  return news;
}

function App() {
  const { data: page, error } = usePolled("api/page");
  const [filter, setFilter] = useState({ text: "", project: "", risk: "" });
  const selected = useRoute();
  const news = useNews(page);
  useSearchKey();
  const onFilter = useCallback((change) => setFilter((known) => ({ ...known, ...change })), []);
  useEffect(() => {
    document.title = selected ? `${selected} – Cloud Run identities` : "Cloud Run identities";
    document.getElementById("main")?.scrollTo(0, 0);
    if (selected) document.getElementById("main")?.focus({ preventScroll: true });
  }, [selected]);
  if (!page) return html`<p class=${error ? "loading bad" : "loading"} role="status">${error || "Reading the cluster…"}</p>`;
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/"><img src="icon.svg" alt="" width="26" height="26" />Cloud Run identities</a>
      <span class="cluster" title="API server">${page.cluster}${page.namespace && ` · ${page.namespace}`}</span>
      <span class="live ${error ? "stale" : ""}" role="status"><span class="dot" aria-hidden="true"></span>${error ? "Not connected" : "Live"}</span>
      <${ThemeButton} />
    </header>
    ${(error || page.notices.length > 0) && html`
      <div class="banners">
        ${error && html`<p class="banner bad" role="alert">${error} The page shows the last known state.</p>`}
        ${page.notices.map((notice) => html`<p key=${notice} class="banner">${notice}</p>`)}
      </div>`}
    <div class="body">
      <${Identities} page=${page} selected=${selected} filter=${filter} onFilter=${onFilter} />
      ${selected
        ? html`<${Identity} key=${selected} page=${page} identity=${selected} />`
        : html`<${Overview} page=${page} onFilter=${onFilter} />`}
    </div>
    <p class="visually-hidden" role="status">${news}</p>`;
}

applyTheme();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
