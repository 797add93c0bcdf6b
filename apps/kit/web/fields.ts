import type { Context } from "hono";

/** What a form or a JSON object held. */
export interface Fields {
  /** Whether a browser's form sent it, and wants a page or a redirect as its answer. */
  readonly isForm: boolean;
  readonly values: Readonly<Record<string, unknown>>;
}

/** The request's fields, unchecked; undefined when the body is neither a form nor a JSON object, which deserves a 415. */
export async function readFields(c: Context): Promise<Fields | undefined> {
  const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type === "application/x-www-form-urlencoded" || type === "multipart/form-data") {
    try {
      return { isForm: true, values: await c.req.parseBody() };
    } catch (error) {
      // What says that it is a form and is none.
      if (error instanceof TypeError) return undefined;
      throw error;
    }
  }
  if (type !== "application/json") return undefined;
  try {
    const values: unknown = JSON.parse(await c.req.text());
    if (typeof values !== "object" || values === null || Array.isArray(values)) return undefined;
    return { isForm: false, values: values as Record<string, unknown> };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
