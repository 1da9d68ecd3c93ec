import "./icon.css";

/** Strokes on a ground of 24 × 24. */
const paths = {
  run: "M7 4.5v15l12-7.500z",
  stop: "M6.500 6.500h11v11h-11z",
  link: "M10 14a4 4 0 0 0 5.700 0l3.300-3.300a4 4 0 0 0-5.700-5.700L12 6.300M14 10a4 4 0 0 0-5.700 0L5 13.300A4 4 0 0 0 10.700 19l1.300-1.300",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01",
  skip: "M5 5l8 7-8 7zM18 5v14",
  next: "M5 12h13M12.500 6.500 18 12l-5.500 5.500",
  download: "M12 4v11M7 10.500l5 5 5-5M5 20h14",
  upload: "M12 16V5M7 9.500l5-5 5 5M5 20h14",
} as const;

/** Beside a name, never instead of one. */
export function Icon({ of }: { readonly of: keyof typeof paths }) {
  return (
    <svg viewBox="0 0 24 24" width="16" height="16" class="icon" aria-hidden="true">
      <path d={paths[of]} />
    </svg>
  );
}
