/** Where a dragged card would be put: before the card at `index` of a column, not counting itself. */
export interface Target {
  columnKey: string;
  index: number;
}

interface Callbacks {
  onStart: (taskId: number) => void;
  onMove: (target: Target) => void;
  /** Without `isDropped` everything stays as it was. */
  onEnd: (isDropped: boolean) => void;
}

const MOUSE_DISTANCE = 5;
const TOUCH_DISTANCE = 10;
const LONG_PRESS_MILLISECONDS = 300;
const EDGE = 56;
const SPEED = 14;

/**
 * Let the cards (`data-card`) of the columns (`data-column`) in an element be dragged by pointer.
 *
 * A mouse drags after a few pixels, a finger after a long press, so that it can still scroll. Returns what ends it.
 */
export function watchPointer(board: HTMLElement, { onStart, onMove, onEnd }: Callbacks): () => void {
  let ending: (() => void) | undefined;

  function onPointerDown(down: PointerEvent): void {
    const card = (down.target as Element).closest<HTMLElement>("[data-card]");
    if (!card || down.button !== 0 || !down.isPrimary || ending || card.dataset["fixed"] !== undefined) return;
    const isTouch = down.pointerType !== "mouse";
    const taskId = Number(card.dataset["card"]);
    let ghost: HTMLElement | undefined;
    let at = { x: down.clientX, y: down.clientY };
    let frame = 0;

    const begin = () => {
      ghost = ghostOf(card);
      document.body.append(ghost);
      document.body.classList.add("dragging");
      onStart(taskId);
      frame = requestAnimationFrame(step);
    };
    const step = () => {
      if (!ghost) return;
      ghost.style.transform = `translate(${at.x - down.clientX}px, ${at.y - down.clientY}px) rotate(2deg)`;
      scrollAtEdges(board, at);
      const target = targetAt(board, at, taskId);
      if (target) onMove(target);
      frame = requestAnimationFrame(step);
    };
    const move = (event: PointerEvent) => {
      if (event.pointerId !== down.pointerId) return;
      at = { x: event.clientX, y: event.clientY };
      if (ghost) return;
      const distance = Math.hypot(at.x - down.clientX, at.y - down.clientY);
      if (isTouch ? distance > TOUCH_DISTANCE : distance > MOUSE_DISTANCE) {
        if (isTouch) end(false);
        else begin();
      }
    };
    const up = (event: PointerEvent) => {
      if (event.pointerId === down.pointerId) end(true);
    };
    const cancel = (event: PointerEvent) => {
      if (event.pointerId === down.pointerId) end(false);
    };
    const key = (event: KeyboardEvent) => {
      if (event.key === "Escape" && ghost) {
        event.stopPropagation();
        end(false);
      }
    };
    const touch = (event: TouchEvent) => {
      if (ghost) event.preventDefault(); // no scrolling under a dragged card
    };
    const menu = (event: Event) => {
      if (isTouch) event.preventDefault(); // a long press is ours
    };
    const end = (isDropped: boolean) => {
      clearTimeout(press);
      cancelAnimationFrame(frame);
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      removeEventListener("pointercancel", cancel);
      removeEventListener("keydown", key, true);
      removeEventListener("contextmenu", menu);
      document.removeEventListener("touchmove", touch);
      ending = undefined;
      if (!ghost) return;
      ghost.remove();
      ghost = undefined;
      document.body.classList.remove("dragging");
      // The click that follows would open the card.
      const swallow = (event: Event) => {
        event.preventDefault();
        event.stopPropagation();
      };
      addEventListener("click", swallow, { capture: true, once: true });
      setTimeout(() => removeEventListener("click", swallow, true), 0);
      onEnd(isDropped);
    };
    const press = setTimeout(() => isTouch && begin(), LONG_PRESS_MILLISECONDS);
    ending = () => end(false);
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", cancel);
    addEventListener("keydown", key, true);
    addEventListener("contextmenu", menu);
    document.addEventListener("touchmove", touch, { passive: false });
  }

  const noNative = (event: Event) => event.preventDefault();
  board.addEventListener("pointerdown", onPointerDown);
  board.addEventListener("dragstart", noNative);
  return () => {
    board.removeEventListener("pointerdown", onPointerDown);
    board.removeEventListener("dragstart", noNative);
    ending?.();
  };
}

function ghostOf(card: HTMLElement): HTMLElement {
  const { left, top, width } = card.getBoundingClientRect();
  const ghost = card.cloneNode(true) as HTMLElement;
  ghost.removeAttribute("data-card");
  ghost.removeAttribute("href");
  ghost.setAttribute("aria-hidden", "true");
  ghost.classList.add("ghost-card");
  Object.assign(ghost.style, { left: `${left}px`, top: `${top}px`, width: `${width}px` });
  return ghost;
}

function targetAt(board: HTMLElement, at: { x: number; y: number }, taskId: number): Target | undefined {
  let nearest: HTMLElement | undefined;
  let distance = Infinity;
  for (const column of board.querySelectorAll<HTMLElement>("[data-column]")) {
    const { left, right } = column.getBoundingClientRect();
    const apart = Math.max(left - at.x, at.x - right, 0);
    if (apart < distance) [nearest, distance] = [column, apart];
  }
  if (!nearest) return undefined;
  let index = 0;
  for (const card of nearest.querySelectorAll<HTMLElement>("[data-card]")) {
    if (Number(card.dataset["card"]) === taskId) continue;
    const { top, height } = card.getBoundingClientRect();
    if (at.y < top + height / 2) break;
    index++;
  }
  return { columnKey: nearest.dataset["column"] ?? "", index };
}

function scrollAtEdges(board: HTMLElement, at: { x: number; y: number }): void {
  const frame = board.getBoundingClientRect();
  board.scrollLeft += speed(at.x, frame.left, frame.right);
  const column = document.elementFromPoint(at.x, at.y)?.closest("[data-column]");
  const cards = column?.querySelector(".cards");
  if (!cards) return;
  const { top, bottom } = cards.getBoundingClientRect();
  cards.scrollTop += speed(at.y, top, bottom);
}

function speed(at: number, start: number, end: number): number {
  if (at < start + EDGE) return -SPEED * Math.min(1, (start + EDGE - at) / EDGE);
  if (at > end - EDGE) return SPEED * Math.min(1, (at - end + EDGE) / EDGE);
  return 0;
}
