import type { Section } from "task-manager-client";
import { client } from "./service.js";

const pathOf = ({ project_id, id }: Section) => ({ project_id, section_id: id });

export function addSection(projectId: number, name: string): Promise<Section> {
  return client.post("/api/v1/projects/{project_id}/sections", { path: { project_id: projectId }, body: { name } });
}

export function renameSection(section: Section, name: string): Promise<Section> {
  return client.patch("/api/v1/projects/{project_id}/sections/{section_id}", { path: pathOf(section), body: { name } });
}

/** Put a column beside another one. */
export function moveSection(section: Section, place: { before: number } | { after: number }): Promise<Section> {
  return client.post("/api/v1/projects/{project_id}/sections/{section_id}/move", { path: pathOf(section), body: place });
}

export function deleteSection(section: Section): Promise<void> {
  return client.delete("/api/v1/projects/{project_id}/sections/{section_id}", { path: pathOf(section) });
}
