/** State of the cluster from the server: polled with ETags, so that an unchanged state costs no transfer. */
import { useEffect, useState } from "../vendor/preact-hooks.mjs";

const INTERVAL = 2000;

/** Read a path. Return null if the answer has the known ETag. Throw an Error with a text for a person. */
async function read(path, etag) {
  let reply;
  try {
    reply = await fetch(path, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
  } catch {
    throw new Error("The server of this page does not answer. Is the command still running?");
  }
  if (reply.status === 304) return null;
  const type = reply.headers.get("Content-Type") || "";
  const body = type.includes("json") ? await reply.json() : { error: await reply.text() };
  if (!reply.ok) throw new Error(body.error || reply.statusText);
  return { etag: reply.headers.get("ETag"), body };
}

/**
 * Poll a path for as long as the component is shown and the page is visible.
 * Return {data, error, path}: `data` is the last answer, also while `error` explains why there is no newer one.
 */
export function usePolled(path) {
  const [state, setState] = useState({ path, data: null, error: "" });
  useEffect(() => {
    let etag = "", timer = 0, ended = false;
    async function poll() {
      clearTimeout(timer);
      if (ended || document.hidden) return;
      try {
        const answer = await read(path, etag);
        if (ended) return;
        if (answer) {
          etag = answer.etag;
          setState({ path, data: answer.body, error: "" });
        } else {
          setState((known) => (known.error ? { ...known, error: "" } : known));
        }
      } catch (error) {
        if (ended) return;
        setState((known) => ({ path, data: known.path === path ? known.data : null, error: error.message }));
      }
      timer = setTimeout(poll, INTERVAL);
    }
    poll();
    document.addEventListener("visibilitychange", poll);
    return () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", poll);
    };
  }, [path]);
  return state.path === path ? state : { path, data: null, error: "" };
}
