/** Tables of text with aligned columns, for terminals; and the same as CSV. */

type Cell = string | number | null;

/** The first row is the header; columns of numbers, units or dashes are aligned right, others left. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const columns = rows[0]!.map((_, c) => {
    const body = rows.slice(1).map((row) => row[c] ?? '');
    return {
      width: Math.max(...rows.map((row) => (row[c] ?? '').length)),
      right: body.every((cell) => /^[-+~]?[\d.]|^-?$/.test(cell)),
    };
  });
  return rows
    .map((row) =>
      columns
        .map(({ width, right }, c) => (right ? (row[c] ?? '').padStart(width) : (row[c] ?? '').padEnd(width)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** RFC 4180: a header line, then rows; null is an empty cell. */
export function csv(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => `${row.map(csvCell).join(',')}\r\n`).join('');
}

function csvCell(cell: Cell): string {
  const text = String(cell ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
