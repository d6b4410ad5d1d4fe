import { useEffect, useState } from "preact/hooks";
import { useDesk, useProjects, useStatus } from "../desk.js";
import { useUnread } from "../inbox.js";
import { nameOf } from "../model/people.js";
import { go, hrefOf, type Route, useRoute } from "../routes.js";
import { Avatar } from "../ui/avatar.js";
import { Icon, type IconName } from "../ui/icons.js";
import { Mark } from "../ui/mark.js";
import { Inbox } from "./inbox.js";
import { Mine } from "./mine.js";
import { NewProject } from "./new-project.js";
import { ProjectPage } from "./project.js";
import { Search } from "./search.js";
import { Settings } from "./settings.js";
import { Shortcuts } from "./shortcuts.js";
import { TaskPanel } from "./task-panel.js";

/** The page of those who are logged in: the navigation, the page that the address names, and the task's panel. */
export function Shell() {
  const { store } = useDesk();
  const route = useRoute();
  const [menu, setMenu] = useState(false);
  const [help, setHelp] = useState(false);
  const status = useStatus();

  useEffect(() => setMenu(false), [route]);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      if (event.key === "?") setHelp(true);
      else if (event.key === "/") go({ page: "search" });
      else if (event.key === "g") go({ page: "mine" });
      else if (event.key === "i") go({ page: "inbox" });
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);

  const task = route.taskId ? store.get("task", route.taskId) : undefined;
  return (
    <div class="shell">
      <a class="skip" href="#page" onClick={focusPage}>
        Skip to the page
      </a>
      <div class="topbar">
        <button class="quiet square" aria-label="Navigation" aria-expanded={menu} onClick={() => setMenu(!menu)}>
          <Icon name="menu" />
        </button>
        <Mark isSmall />
      </div>
      <Navigation route={route} shown={menu} onHelp={() => setHelp(true)} />
      {menu && <div class="veil" onClick={() => setMenu(false)} />}
      <main class="page" id="page" tabIndex={-1}>
        {status === "offline" && (
          <p class="banner" role="status">
            <Icon name="offline" /> You are offline. You see what was loaded last; changes need the server.
          </p>
        )}
        <Page route={route} />
      </main>
      {route.taskId !== 0 && <TaskPanel key={route.taskId} taskId={route.taskId} known={task} onClose={() => go({ ...route, taskId: 0 })} />}
      {help && <Shortcuts onClose={() => setHelp(false)} />}
    </div>
  );
}

function Page({ route }: { route: Route }) {
  if (route.page === "project") return <ProjectPage key={route.projectId} route={route} />;
  if (route.page === "inbox") return <Inbox />;
  if (route.page === "search") return <Search route={route} />;
  if (route.page === "settings") return <Settings />;
  return <Mine />;
}

function Navigation({ route, shown, onHelp }: { route: Route; shown: boolean; onHelp: () => void }) {
  const { user } = useDesk();
  const projects = useProjects();
  const unread = useUnread();
  const [creating, setCreating] = useState(false);
  const active = projects.filter((project) => !project.archived);
  const archived = projects.filter((project) => project.archived);
  const link = (page: Route["page"], name: string, icon: IconName, count = 0) => (
    <a href={hrefOf({ page })} aria-current={route.page === page ? "page" : undefined}>
      <Icon name={icon} />
      <span>{name}</span>
      {count > 0 && (
        <span class="count">
          {count}
          <span class="unseen"> unread</span>
        </span>
      )}
    </a>
  );
  const projectLink = (project: (typeof projects)[number]) => (
    <li key={project.id}>
      <a
        href={hrefOf({ page: "project", projectId: project.id })}
        aria-current={route.page === "project" && route.projectId === project.id ? "page" : undefined}
      >
        <span class="dot" data-tone={project.id % 8} aria-hidden="true" />
        <span>{project.name}</span>
      </a>
    </li>
  );
  return (
    <nav class={shown ? "sidebar shown" : "sidebar"} aria-label="Main">
      <p class="brand">
        <Mark isSmall />
        Tasks
      </p>
      {link("mine", "My tasks", "target")}
      {link("inbox", "Notifications", "bell", unread)}
      {link("search", "Search", "search")}
      <div class="sidebar-head">
        <h2>Projects</h2>
        <button class="quiet square" aria-label="New project" title="New project" onClick={() => setCreating(true)}>
          <Icon name="plus" />
        </button>
      </div>
      <ul class="plain">{active.map(projectLink)}</ul>
      {archived.length > 0 && (
        <details>
          <summary>Archived</summary>
          <ul class="plain">{archived.map(projectLink)}</ul>
        </details>
      )}
      <div class="sidebar-foot">
        <a href={hrefOf({ page: "settings" })} aria-current={route.page === "settings" ? "page" : undefined}>
          <Avatar person={user} named />
          <span>{nameOf(user)}</span>
        </a>
        <button class="quiet square" aria-label="Keyboard shortcuts" title="Keyboard shortcuts" onClick={onHelp}>
          ?
        </button>
      </div>
      {creating && <NewProject onClose={() => setCreating(false)} />}
    </nav>
  );
}

function focusPage(event: Event): void {
  event.preventDefault();
  document.getElementById("page")?.focus();
}

/** Whether keys are text where they go. */
export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
