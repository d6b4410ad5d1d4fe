import { Dialog } from "../ui/dialog.js";

const SHORTCUTS = [
  ["n", "New task"],
  ["/", "Search"],
  ["g", "My tasks"],
  ["i", "Notifications"],
  ["f", "Filter the board"],
  ["← ↑ → ↓", "Go from card to card"],
  ["Enter", "Open the card"],
  ["Space", "Pick the card up, move it with the arrows, put it down with Space"],
  ["Escape", "Put a card back where it was, or close"],
  ["?", "This list"],
];

export function Shortcuts({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl class="shortcuts">
        {SHORTCUTS.map(([keys, use]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{use}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
