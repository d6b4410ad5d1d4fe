import { useEffect, useState } from "preact/hooks";

/** Where the user is: the page behind, and the task whose panel is open. */
export interface Route {
  page: "mine" | "project" | "inbox" | "search" | "settings";
  projectId: number;
  layout: "board" | "list";
  taskId: number;
  query: URLSearchParams;
}

/** Read the fragment of an address, such as `#/p/12/list/t/345?assignee=me`. */
export function readRoute(fragment: string): Route {
  const [path = "", query = ""] = fragment.replace(/^#\/?/, "").split("?");
  const parts = path.split("/");
  const route: Route = { page: "mine", projectId: 0, layout: "board", taskId: 0, query: new URLSearchParams(query) };
  const task = parts.indexOf("t");
  if (task >= 0) route.taskId = Number(parts[task + 1]) || 0;
  if (parts[0] === "p" && Number(parts[1])) {
    route.page = "project";
    route.projectId = Number(parts[1]);
    if (parts[2] === "list") route.layout = "list";
  } else if (parts[0] === "inbox" || parts[0] === "search" || parts[0] === "settings") {
    route.page = parts[0];
  }
  return route;
}

/** Write the fragment of a route. */
export function hrefOf(route: Partial<Route>): string {
  const parts: (string | number)[] = [];
  if (route.page === "project" && route.projectId) {
    parts.push("p", route.projectId);
    if (route.layout === "list") parts.push("list");
  } else if (route.page && route.page !== "mine") {
    parts.push(route.page);
  }
  if (route.taskId) parts.push("t", route.taskId);
  const query = route.query?.toString();
  return `#/${parts.join("/")}${query ? `?${query}` : ""}`;
}

export function go(route: Partial<Route>, replace = false): void {
  if (replace) location.replace(hrefOf(route));
  else location.hash = hrefOf(route);
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => readRoute(location.hash));
  useEffect(() => {
    const follow = () => setRoute(readRoute(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}
