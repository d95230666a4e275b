import type { Page, PageRequest } from "../tenant/page.ts";

/** Which rows a list's query asks for; the cursor is the last row's id. */
export function pageRequestOf(query: { limit: number; cursor?: string | undefined }): PageRequest {
  return { limit: query.limit, after: query.cursor };
}

/** A page as the contract writes it. */
export function listBody<Row extends { id: string }, Item>(page: Page<Row>, itemOf: (row: Row) => Item) {
  return {
    object: "list" as const,
    data: page.rows.map(itemOf),
    has_more: page.hasMore,
    next_cursor: page.hasMore ? (page.rows.at(-1)?.id ?? null) : null,
  };
}
