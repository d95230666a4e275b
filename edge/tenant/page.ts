/** Which part of a list; `after` is the id of the last row seen. */
export interface PageRequest {
  limit: number;
  after?: string | undefined;
}

/** Rows of a list, newest first. */
export interface Page<Row> {
  rows: Row[];
  hasMore: boolean;
}

/** Cuts a page out of rows that were read with one to spare. */
export function pageOf<Row>(rows: Row[], limit: number): Page<Row> {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
