import { useEffect, useMemo, useState } from "preact/hooks";
import type { Project } from "task-manager-client";
import { useDesk, useMembers, useProjects, useSections, useTasks } from "../desk.js";
import { isFiltered, passes, readFilters, writeFilters } from "../model/filters.js";
import { go, hrefOf, type Route } from "../routes.js";
import { client } from "../service.js";
import { Avatar } from "../ui/avatar.js";
import { Icon } from "../ui/icons.js";
import { Menu } from "../ui/menu.js";
import { attempt } from "../ui/messages.js";
import { Board } from "./board.js";
import { FilterBar } from "./filter-bar.js";
import { TaskTable } from "./task-table.js";
import { NewTask } from "./new-task.js";
import { ProjectSettings } from "./project-settings.js";
import { Sharing } from "./sharing.js";
import { isTyping } from "./shell.js";

/** A project, as a board or as a list. */
export function ProjectPage({ route }: { route: Route }) {
  const projects = useProjects();
  const project = projects.find((one) => one.id === route.projectId);
  return project ? <OpenProject project={project} route={route} /> : <MissingProject />;
}

function OpenProject({ project, route }: { project: Project; route: Route }) {
  const { user } = useDesk();
  const tasks = useTasks(project.id);
  const sections = useSections(project.id);
  const filters = useMemo(() => readFilters(route.query), [route.query]);
  const [showsFilters, setShowsFilters] = useState(isFiltered(filters));
  const [dialog, setDialog] = useState<"" | "new" | "settings" | "sharing">("");
  const shown = useMemo(() => tasks.filter((task) => passes(task, filters, user.id)), [tasks, filters, user.id]);
  const canWrite = project.role !== "viewer" && !project.archived;

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      if (event.key === "n" && canWrite) setDialog("new");
      else if (event.key === "f") setShowsFilters(true);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [canWrite]);

  useEffect(() => {
    document.title = `${project.name} · Tasks`;
  }, [project.name]);

  const layoutLink = (layout: Route["layout"], name: string) => (
    <a href={hrefOf({ ...route, layout, taskId: 0 })} aria-current={route.layout === layout ? "true" : undefined}>
      <Icon name={layout} />
      <span class="wide-only">{name}</span>
    </a>
  );
  const close = () => setDialog("");
  return (
    <>
      <header class="page-head">
        <div class="page-title">
          <h1>{project.name}</h1>
          {project.archived && <span class="chip">Archived</span>}
          {project.role === "viewer" && <span class="chip">You can look, not change</span>}
        </div>
        <span class="spring" />
        <People projectId={project.id} onShare={() => setDialog("sharing")} isPersonal={project.personal} />
        <div class="segments" role="group" aria-label="Layout">
          {layoutLink("board", "Board")}
          {layoutLink("list", "List")}
        </div>
        <button type="button" class="quiet" aria-pressed={showsFilters} onClick={() => setShowsFilters(!showsFilters)}>
          <Icon name="filter" /> <span class="wide-only">Filter</span>
        </button>
        {canWrite && (
          <button type="button" class="primary" onClick={() => setDialog("new")}>
            <Icon name="plus" /> <span class="wide-only">New task</span>
          </button>
        )}
        <Menu label="More of this project" items={commands(project, setDialog)}>
          <Icon name="more" />
        </Menu>
      </header>
      {(showsFilters || isFiltered(filters)) && (
        <FilterBar
          projectId={project.id}
          tasks={tasks}
          filters={filters}
          found={shown.length}
          onChange={(changed) => go({ ...route, query: writeFilters(changed) }, true)}
        />
      )}
      {route.layout === "list" ? (
        <TaskTable tasks={shown} route={route} projectId={project.id} emptyText={isFiltered(filters) ? "Nothing matches the filter." : "No tasks yet."} />
      ) : (
        <Board project={project} tasks={shown} sections={sections} route={route} isFiltered={isFiltered(filters)} />
      )}
      {dialog === "new" && <NewTask project={project} sections={sections} onClose={close} />}
      {dialog === "settings" && <ProjectSettings project={project} onClose={close} />}
      {dialog === "sharing" && <Sharing project={project} onClose={close} />}
    </>
  );
}

function commands(project: Project, setDialog: (dialog: "settings" | "sharing") => void) {
  const isOwner = project.role === "owner" && !project.personal;
  const archive = () => client.update("project", project, { archived: !project.archived });
  return [
    { label: "Name and description…", onSelect: () => setDialog("settings"), disabled: !isOwner || project.archived },
    { label: "People…", onSelect: () => setDialog("sharing"), disabled: project.personal },
    { label: project.archived ? "Bring back from the archive" : "Archive", onSelect: () => void attempt(archive()), disabled: !isOwner },
  ];
}

function People({ projectId, onShare, isPersonal }: { projectId: number; onShare: () => void; isPersonal: boolean }) {
  const members = useMembers(projectId);
  if (isPersonal) return null;
  const shown = members.slice(0, 4);
  return (
    <button type="button" class="quiet people" onClick={onShare} title="People of this project">
      {shown.map((member) => (
        <Avatar key={member.user_id} person={{ ...member, id: member.user_id }} named />
      ))}
      {members.length > shown.length && <span class="more">+{members.length - shown.length}</span>}
      <span class="unseen">{members.length} people: share</span>
      <Icon name="people" />
    </button>
  );
}

function MissingProject() {
  return (
    <div class="empty">
      <h1>This project is not here</h1>
      <p>It was deleted, or you are no member of it any more.</p>
      <a class="button" href={hrefOf({ page: "mine" })}>
        My tasks
      </a>
    </div>
  );
}
