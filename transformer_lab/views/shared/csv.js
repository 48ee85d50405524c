// The only place that writes CSV. Like files/tables.py, it keeps spreadsheets from running a cell
// as a formula.

const FORMULA = /^[=+\-@\t\r\n]/; // how a formula can begin, according to OWASP

const cell = (value) => {
  if (typeof value === "boolean") return value ? "True" : "False";
  const text = value === null || Number.isNaN(value) ? "" : String(value);
  const inert = typeof value === "string" && FORMULA.test(value) ? `'${text}` : text;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
};

/** Rows as comma-separated text. @param {any[][]} rows */
export const csvText = (rows) => rows.map((row) => `${row.map(cell).join(",")}\n`).join("");
