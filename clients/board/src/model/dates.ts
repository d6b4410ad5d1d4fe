/** How near the end of a task is. */
export type Urgency = "overdue" | "today" | "soon" | "later";

const DAY = 86_400_000;
const withTime = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const withDay = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const withYear = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const withWeekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const complete = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

export function startOfDay(moment: Date): Date {
  return new Date(moment.getFullYear(), moment.getMonth(), moment.getDate());
}

/** The days from one moment's day to another's, whatever the clock was changed by. */
export function daysBetween(from: Date, to: Date): number {
  return Math.round((startOfDay(to).getTime() - startOfDay(from).getTime()) / DAY);
}

export function urgencyOf(due: Date, now = new Date()): Urgency {
  if (due < now) return "overdue";
  const days = daysBetween(now, due);
  return days === 0 ? "today" : days <= 2 ? "soon" : "later";
}

/** A short text for a due time: `Today 17:00`, `Tomorrow`, `Fri`, `3 Feb`. */
export function shortDue(due: Date, hasTime: boolean, now = new Date()): string {
  const days = daysBetween(now, due);
  const time = hasTime ? ` ${withTime.format(due)}` : "";
  if (Math.abs(days) <= 1) return capitalised(relative.format(days, "day")) + time;
  if (days > 1 && days < 7) return withWeekday.format(due) + time;
  return due.getFullYear() === now.getFullYear() ? withDay.format(due) : withYear.format(due);
}

/** How long ago something was: `now`, `5 min. ago`, `yesterday`, or its day. */
export function ago(moment: Date, now = new Date()): string {
  const seconds = (now.getTime() - moment.getTime()) / 1000;
  if (seconds < 45) return "now";
  if (seconds < 3600) return relative.format(-Math.round(seconds / 60), "minute");
  if (seconds < 86_400 && daysBetween(moment, now) === 0) return relative.format(-Math.round(seconds / 3600), "hour");
  if (daysBetween(moment, now) < 7) return relative.format(-daysBetween(moment, now), "day");
  return moment.getFullYear() === now.getFullYear() ? withDay.format(moment) : withYear.format(moment);
}

export function exact(moment: Date): string {
  return complete.format(moment);
}

/** The value of an `<input type="date">`, in the time of this computer. */
export function dateInput(moment: Date): string {
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}

export function timeInput(moment: Date): string {
  return `${two(moment.getHours())}:${two(moment.getMinutes())}`;
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}

function capitalised(text: string): string {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}
