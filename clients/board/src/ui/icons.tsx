// Outlines of 16 by 16, drawn for this page.
const PATHS = {
  archive: "M2 3h12v3H2zM3 6v7h10V6M6.5 9h3",
  bell: "M3.5 11.5V7a4.5 4.5 0 0 1 9 0v4.5l1 1h-11zM6.5 14h3",
  board: "M2.5 2.5h3v11h-3zM6.5 2.5h3v7h-3zM10.5 2.5h3v9h-3z",
  calendar: "M2.5 3.5h11v10h-11zM2.5 6.5h11M5.5 2v3M10.5 2v3",
  check: "M3 8.5 6.5 12 13 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  comment: "M2.5 3h11v8H7l-3 2.5V11H2.5z",
  filter: "M2 3.5h12M4.5 8h7M6.5 12.5h3",
  flag: "M4 14V2.5h8.5L10.5 5.5l2 3H4",
  key: "M10.5 2a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM8 8l-5.5 5.5M4.5 11.5l2 2",
  list: "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01",
  logout: "M9.5 3V2.5h-7v11h7V13M6 8h8M11.5 5.5 14 8l-2.5 2.5",
  menu: "M2 4h12M2 8h12M2 12h12",
  more: "M3 8h.01M8 8h.01M13 8h.01",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z",
  offline: "M2 2l12 12M5 8.5a4.5 4.5 0 0 1 1.5-1M2.5 6a8 8 0 0 1 2-1.4M8 4c2.2 0 4.1.8 5.5 2M10 8a4.5 4.5 0 0 1 1 .7M8 12h.01",
  people: "M6 3a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 3.2a2.5 2.5 0 0 1 0 4.6M12 9.8c1.5.5 2.5 1.700 2.5 3.700",
  plus: "M8 3v10M3 8h10",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5l3 3",
  settings: "M2 4.5h6M12 4.5h2M10 2.5v4M2 11.5h2M8 11.5h6M6 9.5v4",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  target: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  trash: "M3 4.5h10M6 4.5V3h4v1.5M4.5 4.5l.5 9h6l.5-9",
} as const;

export type IconName = keyof typeof PATHS;

/** A drawing that says nothing: its control has a name of its own. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={name === "more" ? "icon dots" : "icon"} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
