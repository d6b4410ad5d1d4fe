/** A person as the page shows one. */
export interface Person {
  id: number;
  username: string | null;
  display_name?: string | null;
}

export function nameOf(person: Person): string {
  return person.display_name || person.username || "Deleted account";
}

/** One or two letters that stand for a person. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  const initials = letters.map((word) => [...(word ?? "?")][0]?.toLocaleUpperCase()).join("");
  return initials || "?";
}

/** Which of the eight colours of avatars a person has. */
export function toneOf(id: number): number {
  return (Math.imul(id, 2_654_435_761) >>> 0) % 8;
}
