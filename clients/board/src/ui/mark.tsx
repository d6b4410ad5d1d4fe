/** The sign of the product: three columns of a board. */
export function Mark({ isSmall = false }: { isSmall?: boolean }) {
  return (
    <svg class={isSmall ? "mark small" : "mark"} viewBox="0 0 40 40" aria-hidden="true" focusable="false">
      <rect width="40" height="40" rx="10" />
      <path d="M8 10h6v14H8zM17 10h6v20h-6zM26 10h6v9h-6z" />
    </svg>
  );
}
