import { initialsOf, nameOf, type Person, toneOf } from "../model/people.js";

/** A person's initials; the name is read out and shown on hovering, unless it stands beside them. */
export function Avatar({ person, named = false }: { person: Person; named?: boolean }) {
  const name = nameOf(person);
  const label = named ? { "aria-hidden": true as const } : { role: "img" as const, "aria-label": name, title: name };
  return (
    <span class="avatar" data-tone={toneOf(person.id)} {...label}>
      {initialsOf(name)}
    </span>
  );
}
